import { defineConfig } from "vitest/config";

export default defineConfig({
  // TensorBoard sets <base href="plugin/nanwatch/"> and imports "./index.js".
  base: "./",
  // No source of licence banners, dates or machine paths: the output is committed
  // and must come out the same byte for byte everywhere.
  build: {
    outDir: "../tb_nanwatch/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    reportCompressedSize: true,
    rollupOptions: {
      input: { index: "src/index.ts" },
      preserveEntrySignatures: "strict",
      output: {
        format: "es",
        entryFileNames: "[name].js",
        chunkFileNames: "[name]-[hash].js",
        assetFileNames: "[name]-[hash][extname]",
      },
    },
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
