import { createRequire } from 'node:module';
import { ModuleRef } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { expect, it } from 'vitest';

it('the project nest-11 runs on Nest 11, on one copy of it', async () => {
  const require = createRequire(import.meta.url);
  expect((require('@nestjs/core/package.json') as { version: string }).version).toMatch(/^11\./);
  expect(ModuleRef).toBe((require('@nestjs/core') as { ModuleRef: unknown }).ModuleRef);

  const module = await Test.createTestingModule({}).compile();
  expect(module.get(ModuleRef)).toBeInstanceOf(ModuleRef);
  await module.close();
});
