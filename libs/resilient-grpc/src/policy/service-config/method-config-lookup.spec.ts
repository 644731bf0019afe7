import { describe, expect, it } from 'vitest';
import { lookupMethodConfig } from './method-config-lookup.js';
import type { ParsedServiceConfig } from './service-config.js';

const config: ParsedServiceConfig = {
  methodConfig: [
    { names: [{ service: '', method: '' }], timeoutMs: 1 },
    {
      names: [
        { service: 'a.Other', method: '' },
        { service: 'a.Orders', method: '' },
      ],
      timeoutMs: 2,
    },
    { names: [{ service: 'a.Orders', method: 'Get' }], waitForReady: true },
  ],
};

describe('lookupMethodConfig', () => {
  it('finds the config of the method first, and nothing of the others with it', () => {
    expect(lookupMethodConfig(config, 'a.Orders', 'Get')).toBe(config.methodConfig[2]);
  });
  it('finds the config of the service next', () => {
    expect(lookupMethodConfig(config, 'a.Orders', 'List')).toBe(config.methodConfig[1]);
  });
  it('finds the config of everything last', () => {
    expect(lookupMethodConfig(config, 'b.Users', 'Get')).toBe(config.methodConfig[0]);
  });
  it('finds nothing where nothing is said', () => {
    expect(lookupMethodConfig({ methodConfig: [] }, 'a.Orders', 'Get')).toBeUndefined();
  });
});
