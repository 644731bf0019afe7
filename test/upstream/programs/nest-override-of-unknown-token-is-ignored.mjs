import 'reflect-metadata';
import { Test } from '@nestjs/testing';
import { reproduce } from './support/reproduce.mjs';

await reproduce('@nestjs/testing', async () => {
  const builder = Test.createTestingModule({ providers: [{ provide: 'orders', useValue: 'real' }] });
  try {
    await builder.overrideProvider('order').useValue('fake').compile();
    return true;
  } catch {
    return false;
  }
});
