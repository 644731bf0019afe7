import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  copyFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../time/clock.js';
import { turn } from '../../../../../test/unit-support/virtual-clock.js';
import { openTlsCredentials } from './tls-credentials.js';
import type { TlsOptions } from './tls-material.js';

const fixture = (name: string) => join(import.meta.dirname, '../../../../../test/fixtures/tls', `${name}.pem`);
const pem = (name: string) => readFileSync(fixture(name), 'utf8');

let reports: string[];
let timers: (() => void)[];
let epochNow: number;
const clock: Clock = {
  now: () => 0,
  epoch: () => epochNow,
  setTimer: (task) => {
    timers.push(task);
    return {
      clear: () => {
        timers = timers.filter((other) => other !== task);
      },
    };
  },
  defer: (task) => {
    timers.push(task);
  },
};

function open(options: TlsOptions) {
  const opened = openTlsCredentials(options, { clock, report: (message) => reports.push(message) });
  if (!opened.ok) throw new Error(opened.problems.map(({ key, message }) => `${key}: ${message}`).join('\n'));
  return opened.credentials;
}

function problems(options: TlsOptions): string[] {
  const opened = openTlsCredentials(options, { clock, report: () => undefined });
  return opened.ok ? [] : opened.problems.map(({ key, message }) => `${key}: ${message}`);
}

beforeEach(() => {
  reports = [];
  timers = [];
  epochNow = Date.now();
});

describe('TLS options', () => {
  it('accepts TLS options with paths, PEM text, or buffers, and empty TLS options', () => {
    for (const options of [
      {},
      { ca: fixture('ca'), cert: fixture('client'), key: fixture('client-key') },
      { ca: pem('ca'), cert: pem('client'), key: pem('client-key') },
      { ca: Buffer.from(pem('ca')) },
    ]) {
      expect(open(options).current._isSecure()).toBe(true);
    }
  });

  const wrong: readonly [what: string, options: TlsOptions, expected: RegExp | string][] = [
    [
      'a missing file',
      { ca: '/nowhere/ca.pem' },
      /^ca: .*"\/nowhere\/ca.pem" \(ENOENT\).*write a path that this process can read/,
    ],
    [
      'a missing file with a relative path',
      { ca: 'certs/ca.crt' },
      'ca: expected a readable file or PEM text with \'-----BEGIN\', got "certs/ca.crt" ' +
        `(ENOENT, resolved to ${resolve('certs/ca.crt')}); write a path that this process can read`,
    ],
    [
      'a relative path with credentials',
      { ca: 'https://me:hush@host/ca.crt' },
      'ca: expected a readable file or PEM text with \'-----BEGIN\', got "https://***@host/ca.crt" ' +
        `(ENOENT, resolved to ${resolve('https:/***@host/ca.crt')}); write a path that this process can read`,
    ],
    ['an empty path', { ca: '' }, /^ca: .*got "" \(ENOENT\); write a path/],
    ['DER data', { ca: Buffer.from([0x30, 0x82]) }, /^ca: expected PEM.*openssl x509 -inform der/],
    [
      'PEM with an invalid certificate',
      { ca: '-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----' },
      /^ca: expected a PEM certificate/,
    ],
    [
      'PEM with spaces instead of line breaks',
      { ca: pem('ca').replaceAll('\n', ' ') },
      /^ca: expected PEM text with line breaks, got PEM text without them .*; keep its line breaks, or write the path of a file$/,
    ],
    [
      'PEM without line breaks',
      { cert: pem('client'), key: Buffer.from(pem('client-key').replaceAll('\n', '')) },
      /^key: expected PEM text with line breaks, got PEM text without them/,
    ],
    [
      'PEM in base64',
      { ca: Buffer.from(pem('ca')).toString('base64') },
      "ca: expected PEM text, got PEM text in base64; write Buffer.from(value, 'base64')",
    ],
    ['PEM with a literal \\n', { ca: '-----BEGIN CERTIFICATE-----\\nMII' }, /^ca: .*line breaks.*\.replace/],
    [
      'a certificate without its key',
      { cert: pem('client') },
      /^key: expected key together with cert, got only cert; /,
    ],
    [
      'a key without its certificate',
      { key: pem('client-key') },
      /^cert: expected cert together with key, got only key; /,
    ],
    [
      'a key of another certificate',
      { cert: pem('client'), key: pem('next-key') },
      /^key: expected the private key of the first certificate/,
    ],
    ['cert and key swapped', { cert: pem('client-key'), key: pem('client') }, /^cert: .*swap `cert` and `key`/],
    ['reload but no path', { ca: pem('ca'), reload: true }, /^reload: .*write paths/],
    [
      'a private key as the certificate authority',
      { ca: pem('client-key') },
      /^ca: .*; this is a private key; write the certificate of the certificate authority$/,
    ],
  ];
  it.each(wrong)('rejects TLS options with %s and suggests a remedy', (_, options, expected) => {
    expect(problems(options)[0]).toMatch(expected);
  });

  it('omits from TLS errors all text that may be a private key', () => {
    const keyWithoutHeading = pem('client-key').split('\n').slice(1).join('\n');
    const text = [
      ...problems({ key: keyWithoutHeading, cert: pem('client') }),
      ...problems({ key: 'A'.repeat(300), cert: pem('client') }),
    ].join();
    expect(text).toMatch(/a string of \d+ characters/);
    expect(text).not.toContain(keyWithoutHeading.slice(0, 20));
    expect(text).not.toContain('AAAA');
  });
});

describe('TLS file reload', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const place = (name: string, into = folder) => {
    mkdirSync(into, { recursive: true });
    copyFileSync(fixture(name), join(into, 'tls.crt'));
    copyFileSync(fixture(`${name}-key`), join(into, 'tls.key'));
  };
  const paths = () => ({ cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key'), reload: true });

  it('notifies listeners once if both the certificate and the key are replaced', async () => {
    place('client');
    const source = open(paths());
    const before = source.current;
    let rotations = 0;
    source.watch(() => rotations++);

    await source.check();
    expect(rotations).toBe(0);
    place('next');
    await source.check();
    await source.check();
    expect(rotations).toBe(1);
    expect(source.current).not.toBe(before);
  });

  it('detects that Kubernetes replaced the TLS files by swapping a symlink', async () => {
    place('client', join(folder, '1'));
    place('next', join(folder, '2'));
    symlinkSync('1', join(folder, '..data'));
    symlinkSync('..data/tls.crt', join(folder, 'tls.crt'));
    symlinkSync('..data/tls.key', join(folder, 'tls.key'));
    const source = open(paths());
    let rotations = 0;
    source.watch(() => rotations++);

    symlinkSync('2', join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    await source.check();
    expect(rotations).toBe(1);
  });

  it('keeps the old certificate and key while the new pair does not match, and reports the mismatch once', async () => {
    place('client');
    const source = open(paths());
    const before = source.current;
    copyFileSync(fixture('next'), join(folder, 'tls.crt'));
    await source.check();
    await source.check();
    expect(source.current).toBe(before);
    expect(reports).toEqual([expect.stringMatching(/cannot be used: key '[^']+tls\.key': .*the old ones stay/)]);

    copyFileSync(fixture('next-key'), join(folder, 'tls.key'));
    await source.check();
    expect(source.current).not.toBe(before);
  });

  it('keeps the old certificate and key if a file is missing or invalid', async () => {
    place('client');
    const source = open(paths());
    const before = source.current;
    rmSync(join(folder, 'tls.key'));
    await source.check();
    writeFileSync(join(folder, 'tls.key'), 'nonsense');
    await source.check();
    expect(source.current).toBe(before);
    expect(reports).toEqual([expect.stringContaining('ENOENT'), expect.stringContaining('private key')]);
  });

  it('keeps the old certificate and key if the new certificate has expired', async () => {
    place('client');
    const source = open(paths());
    const before = source.current;
    place('next');
    epochNow = Date.UTC(2300, 0);
    await source.check();
    expect(source.current).toBe(before);
    expect(reports[0]).toContain('expired');
  });

  it('runs one TLS reload timer, only while there is a listener', () => {
    place('client');
    const source = open(paths());
    expect(timers).toHaveLength(0);
    const stop = source.watch(() => undefined);
    source.watch(() => undefined)();
    expect(timers).toHaveLength(1);
    stop();
    expect(timers).toHaveLength(0);
    source.watch(() => undefined);
    source.close();
    expect(timers).toHaveLength(0);
  });

  it('runs one TLS reload timer after a check during which the last listener was removed and another one was added', async () => {
    place('client');
    const source = open(paths());
    const stop = source.watch(() => undefined);
    place('next');
    timers.shift()!();
    stop();
    await new Promise<void>((resolve) => {
      source.watch(resolve);
    });
    await turn();
    expect(timers).toHaveLength(1);
  });

  it.each([
    ['a', 'and a listener remains', false, 1],
    ['no', 'and no listener remains', true, 0],
  ])('sets %s further TLS reload timer if a check has ended %s', async (_which, _when, removesListener, count) => {
    place('client');
    const source = open(paths());
    place('next');
    await new Promise<void>((resolve) => {
      const stop = source.watch(() => {
        if (removesListener) stop();
        resolve();
      });
      timers.shift()!();
    });
    await turn();
    expect(timers).toHaveLength(count);
  });

  it('runs no TLS reload timer if `reload` is off', () => {
    place('client');
    open({ ...paths(), reload: false }).watch(() => undefined);
    expect(timers).toHaveLength(0);
  });
});
