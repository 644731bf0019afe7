import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import type { Clock, Timer } from '../time/clock.js';
import type { CredentialsSource } from './channel-settings.js';

/** TLS of a client. Text is a path unless it holds '-----BEGIN', then it is PEM; a Buffer is PEM. */
export interface TlsOptions {
  /** Authorities to trust. @defaultValue the system's, as grpc-js takes them */
  readonly ca?: string | Buffer | undefined;
  /** Certificate chain of this client (mutual TLS); needs `key`. */
  readonly cert?: string | Buffer | undefined;
  /** Private key of this client, not encrypted; needs `cert`. */
  readonly key?: string | Buffer | undefined;
  /** Name that the server's certificate must bear, where it is not the target's host. @defaultValue the target's host */
  readonly serverName?: string | undefined;
  /** Files are watched; new ones that match and are valid replace the connection without cutting a call. @defaultValue false */
  readonly reload?: boolean | undefined;
}

/** One thing wrong in TLS options. */
export interface TlsProblem {
  /** 'ca', 'cert', 'key' or 'reload'. */
  readonly key: string;
  readonly message: string;
}

/** Credentials made from TLS options, which may be rotated. */
export interface TlsCredentials extends CredentialsSource {
  /** Reads the files again now; also done by itself. Resolves when a rotation, if any, was announced. */
  check(): Promise<void>;
}

/** What TLS credentials need from outside. */
export interface TlsSeams {
  readonly clock: Clock;
  /** A new pair that cannot be used; the old one stays. */
  readonly report: (message: string) => void;
}

/** Files are read again this often. Contents are compared, so it does not matter by which swap of links they changed. */
export const TLS_RELOAD_CHECK_MS = 10_000;

/** Opens TLS credentials: reads and checks everything now. */
export function openTlsCredentials(
  options: TlsOptions,
  seams: TlsSeams,
):
  | { readonly ok: true; readonly credentials: TlsCredentials }
  | { readonly ok: false; readonly problems: readonly TlsProblem[] } {
  const problems: TlsProblem[] = [];
  const material: Material = {};
  for (const part of PARTS) {
    const read = readPart(part, options[part]);
    if (typeof read === 'string') problems.push({ key: part, message: read });
    else if (read !== undefined) material[part] = read;
  }
  if (options.reload === true && pathsOf(options).length === 0) {
    problems.push({
      key: 'reload',
      message: 'expected a path in ca, cert or key, found none to watch; write paths, or leave reload out',
    });
  }
  if ((options.cert === undefined) !== (options.key === undefined)) {
    const [missing, given] = options.cert === undefined ? ['cert', 'key'] : ['key', 'cert'];
    problems.push({
      key: missing ?? '',
      message: `expected beside '${given ?? ''}', got nothing; mutual TLS needs both, plain TLS neither`,
    });
  }
  if (problems.length === 0) problems.push(...materialProblems(material));
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, credentials: new ReloadingCredentials(options, material, seams) };
}

const PARTS = ['ca', 'cert', 'key'] as const;
type Part = (typeof PARTS)[number];
type Material = { [K in Part]?: Buffer };

class ReloadingCredentials implements TlsCredentials {
  current: ChannelCredentials;
  private readonly listeners = new Set<() => void>();
  private timer: Timer | undefined;
  private closed = false;
  private rejected = '';

  constructor(
    private readonly options: TlsOptions,
    private material: Material,
    private readonly seams: TlsSeams,
  ) {
    this.current = toCredentials(material);
  }

  watch(rotated: () => void): () => void {
    this.listeners.add(rotated);
    this.arm();
    return () => {
      this.listeners.delete(rotated);
      if (this.listeners.size === 0) this.disarm();
    };
  }

  async check(): Promise<void> {
    const next: Material = { ...this.material };
    try {
      for (const [part, path] of pathsOf(this.options)) next[part] = await readFile(path);
    } catch (error) {
      // A swap in several steps has a moment without a file: the same again at the next check is worth a word.
      this.reject(`cannot be read (${codeOf(error)})`);
      return;
    }
    if (this.closed || equal(next, this.material)) {
      this.rejected = '';
      return;
    }
    const problems = [...materialProblems(next), ...validityProblems(next, this.seams.clock.epoch())];
    const [first] = problems;
    if (first !== undefined) {
      this.reject(`cannot be used: ${first.key}: ${first.message}`);
      return;
    }
    this.rejected = '';
    this.material = next;
    this.current = toCredentials(next);
    for (const listener of [...this.listeners]) listener();
  }

  close(): void {
    this.closed = true;
    this.listeners.clear();
    this.disarm();
  }

  private reject(what: string): void {
    if (this.closed || this.rejected === what) return;
    this.rejected = what;
    this.seams.report(`new TLS files ${what}; the old ones stay in use`);
  }

  private arm(): void {
    if (this.timer !== undefined || this.closed || this.options.reload !== true) return;
    this.timer = this.seams.clock.setTimer(() => {
      void this.check().finally(() => {
        this.timer = undefined;
        if (this.listeners.size > 0) this.arm();
      });
    }, TLS_RELOAD_CHECK_MS);
  }

  private disarm(): void {
    if (this.timer !== undefined) this.seams.clock.clearTimer(this.timer);
    this.timer = undefined;
  }
}

function isPem(text: string): boolean {
  return text.includes('-----BEGIN');
}

function pathsOf(options: TlsOptions): (readonly [Part, string])[] {
  const paths: (readonly [Part, string])[] = [];
  for (const part of PARTS) {
    const value = options[part];
    if (typeof value === 'string' && !isPem(value)) paths.push([part, value]);
  }
  return paths;
}

/** The bytes, undefined for nothing given, or what is wrong. */
function readPart(part: Part, value: unknown): Buffer | string | undefined {
  if (value === undefined) return undefined;
  let bytes: Buffer;
  if (Buffer.isBuffer(value)) bytes = value;
  else if (typeof value !== 'string')
    return `expected a path, PEM text or a Buffer, got ${value === null ? 'null' : typeof value}`;
  else if (isPem(value)) {
    if (/-----\\n/.test(value)) {
      return "expected PEM text with line breaks, got '\\n' written out (an environment variable?); write .replace(/\\\\n/g, '\\n') behind it";
    }
    bytes = Buffer.from(value);
  } else {
    try {
      bytes = readFileSync(value);
    } catch (error) {
      // What is no path may be a key that lost its first line: long text is not printed.
      const shown =
        value.length <= 120 && !value.includes('\n')
          ? JSON.stringify(value)
          : `text of ${String(value.length)} characters`;
      return `expected a readable file or PEM text with '-----BEGIN', got ${shown} (${codeOf(error)}); write the path as the process sees it`;
    }
  }
  if (!isPem(bytes.toString('latin1'))) {
    const tool = part === 'key' ? 'openssl pkey' : 'openssl x509';
    return `expected PEM ('-----BEGIN'), got ${String(bytes.length)} bytes of something else; convert DER with '${tool} -inform der'`;
  }
  return bytes;
}

function materialProblems({ ca, cert, key }: Material): TlsProblem[] {
  const problems: TlsProblem[] = [];
  if (ca !== undefined) certificate('ca', ca, problems);
  const own = cert === undefined ? undefined : certificate('cert', cert, problems);
  let privateKey: ReturnType<typeof createPrivateKey> | undefined;
  if (key !== undefined) {
    try {
      privateKey = createPrivateKey(key);
    } catch (error) {
      const encrypted = key.includes('ENCRYPTED');
      problems.push({
        key: 'key',
        message: encrypted
          ? "expected a private key that is not encrypted; decrypt it with 'openssl pkey -in key.pem -out plain.pem'"
          : `expected a private key in PEM, got what node:crypto cannot read (${codeOf(error)})`,
      });
    }
  }
  if (own !== undefined && privateKey !== undefined && !own.checkPrivateKey(privateKey)) {
    problems.push({
      key: 'key',
      message: 'expected the key of the first certificate in `cert`, got another; write a pair that belongs together',
    });
  }
  if (problems.length === 0) {
    try {
      createSecureContext({ ca, cert, key });
    } catch (error) {
      problems.push({
        key: cert === undefined ? 'ca' : 'cert',
        message: `expected what node:tls accepts, got an error (${codeOf(error)})`,
      });
    }
  }
  return problems;
}

function certificate(part: Part, pem: Buffer, problems: TlsProblem[]): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    const remedy = pem.includes('PRIVATE KEY')
      ? 'this is a private key: exchange `cert` and `key`'
      : 'write a certificate';
    problems.push({
      key: part,
      message: `expected a certificate in PEM, got what node:crypto cannot read (${codeOf(error)}); ${remedy}`,
    });
    return undefined;
  }
}

function validityProblems({ cert }: Material, epochNow: number): TlsProblem[] {
  if (cert === undefined) return [];
  const { validFrom, validTo } = new X509Certificate(cert);
  if (Date.parse(validTo) < epochNow) return [{ key: 'cert', message: `expired ${validTo}` }];
  if (Date.parse(validFrom) > epochNow) return [{ key: 'cert', message: `not valid before ${validFrom}` }];
  return [];
}

function toCredentials({ ca, cert, key }: Material): ChannelCredentials {
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
}

function equal(a: Material, b: Material): boolean {
  return PARTS.every((part) => {
    const [x, y] = [a[part], b[part]];
    return x === y || (x !== undefined && y !== undefined && x.equals(y));
  });
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code);
  return error instanceof Error ? error.message : String(error);
}
