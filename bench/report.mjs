// What a row is, and how it is printed.

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} value what we do
 * @property {string} unit with the direction, where less is better
 * @property {number} reference what the other way of doing it does
 * @property {number} ratio value / reference
 */

/** @param {string} unit */
export const lessIsBetter = (unit) => `${unit} (less is better)`;

/**
 * @param {string} name
 * @param {number} value
 * @param {string} unit
 * @param {number} reference
 * @returns {Row}
 */
export function row(name, value, unit, reference) {
  return {
    name,
    value: rounded(value),
    unit,
    reference: rounded(reference),
    ratio: rounded(value / reference),
  };
}

/** Four digits that count: the rest is noise. */
function rounded(/** @type {number} */ value) {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : 0;
}

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

const COLUMNS = /** @type {const} */ (['row', 'ours', 'reference', 'ratio', 'unit']);
const WIDTHS = [52, 10, 10, 6];

export const heading = line(COLUMNS);

/** @param {Row} row */
export function printed({ name, value, unit, reference, ratio }) {
  return line([name, figure(value), figure(reference), ratio.toFixed(2), unit]);
}

/** @param {readonly string[]} cells */
function line(cells) {
  return cells
    .map((cell, i) => {
      const width = WIDTHS[i] ?? 0;
      return i === 0 ? cell.padEnd(width) : cell.padStart(width);
    })
    .join('  ');
}

/** @param {number} value */
function figure(value) {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
