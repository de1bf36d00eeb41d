'use strict';

function price(count, each) {
  if (count < 0) {
    throw new RangeError('count is negative');
  }
  const total = count * each;
  return total > 100 ? total * 0.9 : total;
}

function label(count) {
  return count === 1 ? 'one piece' : `${count} pieces`;
}

function neverCalled(values) {
  const result = [];
  for (const value of values) {
    result.push(value * 2);
  }
  return result;
}

module.exports = { price, label, neverCalled };
