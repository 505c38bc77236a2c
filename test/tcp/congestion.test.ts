import { expect, test } from 'vitest';
import { initialWindow } from '../../src/tcp/congestion.ts';

test.each([
  [536, 5360],
  [1220, 12200],
  [1460, 14600],
  [1461, 14600],
  [7300, 14600],
  [8960, 17920],
  [65495, 130990],
])('RFC 6928 2: IW for segments of %i bytes is %i', (mss, window) => {
  expect(initialWindow(mss)).toBe(window);
});
