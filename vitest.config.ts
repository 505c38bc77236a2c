import { defineConfig } from 'vitest/config';

// Two projects: `unit` runs anywhere and in parallel; `live` needs root, /dev/net/tun and Debian tools, and runs one file
// at a time. Without those it skips with the reason, but never under CI=true.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/live/**'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'live',
          include: ['test/live/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          pool: 'forks',
        },
      },
    ],
  },
});
