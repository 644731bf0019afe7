import { createRequire } from 'node:module';
import { ModuleRef } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { expect, it } from 'vitest';

it('runs the nest-11 project on a single copy of Nest 11', async () => {
  const require = createRequire(import.meta.url);
  expect((require('@nestjs/core/package.json') as { version: string }).version).toMatch(/^11\./);
  expect(ModuleRef).toBe((require('@nestjs/core') as { ModuleRef: unknown }).ModuleRef);

  const module = await Test.createTestingModule({}).compile();
  expect(module.get(ModuleRef)).toBeInstanceOf(ModuleRef);
  await module.close();
});
