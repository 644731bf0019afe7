import { describe, expect, it } from 'vitest';
import { matchMethodPattern } from './method-pattern.js';

const match = (pattern: string) => matchMethodPattern(pattern, 'orders.v1.Orders', 'GetOne');

describe('matchMethodPattern', () => {
  it('finds the more exact of two patterns, the method before the service', () => {
    const fromLeast = [
      '*',
      'Orders/*',
      'orders.v1.Orders/*',
      'G*',
      'Get*',
      'Orders/Get*',
      'orders.v1.Orders/Get*',
      'GetOne*',
      'GetOne',
      'Orders/GetOne',
      'orders.v1.Orders/GetOne',
    ];
    const found = fromLeast.map(match);
    expect(found.every((rank) => rank !== undefined)).toBe(true);
    expect(found).toEqual([...found].sort((a, b) => a! - b!));
    expect(new Set(found).size).toBe(fromLeast.length);
  });

  it.each([
    'Get',
    'getOne',
    'One',
    '*One',
    'G*e',
    'Order/GetOne',
    'v1.Orders/GetOne',
    'orders.v1/GetOne',
    '/GetOne',
    '',
    '/',
  ])('does not take %j for GetOne', (pattern) => {
    expect(match(pattern)).toBeUndefined();
  });

  it('knows a service without a package by its name', () => {
    expect(matchMethodPattern('Orders/Get', 'Orders', 'Get')).toBeDefined();
  });
});
