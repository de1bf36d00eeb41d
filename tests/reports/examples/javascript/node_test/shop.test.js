const assert = require('node:assert');
const { describe, it } = require('node:test');
const { price, label } = require('../shop');

describe('price', () => {
  it('of two', () => assert.strictEqual(price(2, 5), 10));
  it('of three is wrong <on purpose>', () => assert.strictEqual(price(3, 5), 16));
  it('throws', () => price(-1, 5));
  describe('with rebate', () => {
    it('of many', () => assert.strictEqual(price(30, 5), 135));
    it('later', { skip: 'not yet' }, () => {});
  });
});

it('label of one', () => assert.strictEqual(label(1), 'one piece'));
it('someday', { todo: true }, () => assert.fail('not done'));
