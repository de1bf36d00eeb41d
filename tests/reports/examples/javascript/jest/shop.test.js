const { price, label } = require('../shop');

describe('price', () => {
  test('of two', () => expect(price(2, 5)).toBe(10));
  test('of three is wrong <on purpose> & "quoted"', () => expect(price(3, 5)).toBe(16));
  test('throws', () => price(-1, 5));
  describe('with rebate', () => {
    test('of many', () => expect(price(30, 5)).toBe(135));
    test.skip('later', () => {});
    test.todo('someday');
  });
});

test.each([[1, 'one piece'], [2, '2 pieces']])('label of %i', (count, text) => expect(label(count)).toBe(text));
