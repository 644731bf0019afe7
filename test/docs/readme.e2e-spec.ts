import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSync } from '@grpc/proto-loader';
import { describe, expect, it } from 'vitest';
import { ROOT, codeBlocks, pageText } from './markdown.js';

describe('README size', () => {
  it('keeps the README within 12 KiB, with the install command in the first 3 KiB', () => {
    const bytes = Buffer.from(pageText('README.md'));
    expect(bytes.length).toBeLessThanOrEqual(12_288);
    expect(bytes.subarray(0, 3_072).toString()).toContain('npm i nestjs-resilient-grpc');
  });
});

describe('README proto', () => {
  it('declares a subset of protos/orders.proto in the README', () => {
    const folder = mkdtempSync(join(tmpdir(), 'readme-proto-'));
    const [shown] = codeBlocks('README.md').filter(({ language }) => language === 'proto');
    writeFileSync(join(folder, 'orders.proto'), shown!.text);
    const excerpt = contract(join(folder, 'orders.proto'));
    rmSync(folder, { recursive: true });
    const full = contract(join(ROOT, 'protos/orders.proto'));
    expect(full.methods).toEqual(excerpt.methods);
    expect(full.fields).toEqual(expect.arrayContaining(excerpt.fields));
    expect(excerpt.fields).toHaveLength(5);
  });
});

/** The methods Get and Create of a proto, and the fields of their messages. */
function contract(path: string) {
  // The cast is safe because proto-loader returns services and messages in this form.
  const all = loadSync(path) as unknown as {
    readonly 'orders.v1.Orders': Readonly<
      Record<'Get' | 'Create', { readonly path: string; readonly options: object }>
    >;
  } & Readonly<
    Record<
      'orders.v1.GetOrderRequest' | 'orders.v1.CreateOrderRequest' | 'orders.v1.Order',
      { readonly type: { readonly field: readonly { name: string; number: number; type: string }[] } }
    >
  >;
  const { Get, Create } = all['orders.v1.Orders'];
  const methods = [Get, Create].map(({ path: name, options }) => ({ name, options }));
  const fields = (['GetOrderRequest', 'CreateOrderRequest', 'Order'] as const).flatMap((message) =>
    all[`orders.v1.${message}`].type.field.map(({ name, number, type }) => `${message}.${name} ${number} ${type}`),
  );
  return { methods, fields };
}
