const assert = require('node:assert');
const { price, label } = require('../shop');

describe('price', () => {
  it('of two', () => assert.strictEqual(price(2, 5), 10));
  it('of three is wrong', () => assert.strictEqual(price(3, 5), 16));
  it('throws', () => price(-1, 5));
  it('of nothing');
  describe('with rebate', () => {
    it('of many', () => assert.strictEqual(price(30, 5), 135));
    it.skip('later', () => {});
  });
});

describe('a broken hook', () => {
  beforeEach(() => {
    throw new Error('no database');
  });
  it('never runs', () => {});
});

describe('label', () => {
  it('of one', () => assert.strictEqual(label(1), 'one piece'));
});
