import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.mjs';
import { codeBlocks } from '../docs/markdown.js';
import { certificate } from '../nest/places.js';
import { NestServer } from '../server/support/nest-server.js';
import { command } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

const PROMPT = '$ npx nestjs-resilient-grpc ';
const blocks = codeBlocks('docs/operate/doctor.md')
  .filter(({ text }) => text.startsWith(PROMPT))
  .map(({ text }) => {
    const [line = '', ...output] = text.slice(PROMPT.length).split('\n');
    return { line, output: output.join('\n') };
  });

/** Masks values that differ between runs: ports, durations, and numbers of days. */
function mask(text: string): string {
  return text
    .replace(/:\d{4,5}\b/g, ':PORT')
    .replace(/\b(TCP|TLS|READY|in|SERVING) (\(?)[\d.]+ m?s\b/g, '$1 $2N ms')
    .replace(/\b\d+ days/g, 'N days')
    .trim();
}

describe('docs/operate/doctor.md', () => {
  it('shows the actual output of the doctor in docs/operate/doctor.md', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    copyFileSync(certificate('ca'), join(folder, 'ca.pem'));
    const methodConfig = [
      { name: [{ service: 'orders.v1.Orders' }], timeout: '500ms', retrypolicy: { maxAttempts: 3 } },
    ];
    writeFileSync(join(folder, 'service-config.json'), JSON.stringify({ methodConfig }));
    const server = await NestServer.start({ reflection: true }, ['--tls']);
    onTestFinished(() => server.close());
    const free = await freePort();

    expect(blocks).toHaveLength(2);
    for (const { line, output } of blocks) {
      const args = line.replaceAll(':50051', `:${server.port}`).replaceAll(':50052', `:${free}`).split(' ');
      const { stdout } = await command(args, { cwd: folder });
      expect(mask(output)).toBe(mask(stdout));
    }
  });
});
