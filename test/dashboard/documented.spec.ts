import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { startDashboardApp } from './dashboard-app.js';

const LIBRARY = join(import.meta.dirname, '../../libs/resilient-grpc');
const pageText = (name: string) => readFileSync(join(import.meta.dirname, `../../docs/${name}.md`), 'utf8');

describe('docs', () => {
  it('documents exactly the properties of a snapshot in docs/reference/json.md', async () => {
    const page = pageText('reference/json');
    const { clients, close } = await startDashboardApp({ clients: [{ name: 'orders', url: '127.0.0.1:1' }] });
    const properties = Object.keys(clients.get('orders').snapshot());
    await close();
    const [, list = ''] = /<!-- rendered: properties GrpcClientSnapshot -->([^]*?)<!-- end of rendered -->/.exec(page)!;
    const documented = [...list.matchAll(/^- \*\*`(\w+)`/gm)].map((match) => match[1]);
    expect(documented.sort()).toEqual(properties.sort());
  });

  it('documents every state of a client', () => {
    const page = pageText('operate/dashboard');
    const source = readFileSync(join(LIBRARY, 'assets/dashboard/client-state.js'), 'utf8');
    const words = [...source.matchAll(/word: '([A-Z][\w ]*)'/g)].map((match) => match[1]!);
    expect(words.length).toBeGreaterThan(8);
    for (const word of words) expect(page).toMatch(new RegExp(`^\\| (\\w+, )?${word}(, \\w+)? +\\|`, 'm'));
  });
});

describe('dashboard page', () => {
  it('explains exactly the failure reasons of the library on the dashboard page', async () => {
    const source = readFileSync(join(LIBRARY, 'src/errors/grpc-call-error.ts'), 'utf8');
    const [union = ''] = /export type FailureReason =[^]*?';/.exec(source) ?? [];
    const reasons = [...union.matchAll(/^ *\| '([\w-]+)'/gm)].map((match) => match[1]!);
    expect(reasons.length).toBeGreaterThan(15);
    const { REASONS } = await import(pathToFileURL(join(LIBRARY, 'assets/dashboard/details-tables.js')).href);
    expect(Object.keys(REASONS).sort()).toEqual(reasons.sort());
  });
});
