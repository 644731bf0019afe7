import { describe, expect, it } from 'vitest';
import { InterceptedMessage } from './intercepted-message.js';

class Money {
  constructor(public units: number) {}

  double(): void {
    this.units *= 2;
  }
}

describe('InterceptedMessage', () => {
  it('returns the original object on the first take() and an independent copy on each later take()', () => {
    const at = new Date(0);
    const create = () => ({
      list: [{ number: 1 }],
      bytes: Buffer.from('a'),
      array: Uint8Array.of(1),
      price: new Money(1),
      id: 9_007_199_254_740_993n,
      at,
    });
    const original = create();
    const message = new InterceptedMessage(original);
    for (let attempt = 1; attempt <= 3; attempt++) {
      const object = message.take() as typeof original;
      expect(object).toEqual(create());
      expect(object === original).toBe(attempt === 1);
      expect(object.at).toBe(at);
      object.list[0]!.number = 2;
      object.list.push({ number: 3 });
      object.bytes.write('b');
      object.array[0] = 2;
      object.price.double();
    }
  });

  it('copies a message that contains itself', () => {
    const original: Record<string, unknown> = { number: 1 };
    original['self'] = original;
    const message = new InterceptedMessage(original);
    message.take();
    const copy = message.take() as typeof original;
    expect(copy).not.toBe(original);
    expect(copy['self']).toBe(copy);
  });

  it('returns the original object again if it cannot be copied', () => {
    const original = {
      get number(): number {
        throw new Error('not available');
      },
    };
    const message = new InterceptedMessage(original);
    expect([message.take(), message.take()].every((object) => object === original)).toBe(true);
  });

  it.each([undefined, null, 'text', 5])('returns the message %s unchanged', (value) => {
    const message = new InterceptedMessage(value);
    expect([message.take(), message.take()]).toEqual([value, value]);
  });
});
