import { X509Certificate, createPrivateKey } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { maskCredentials } from '../../errors/mask-credentials.js';
import { readBoundedFile } from '../read-bounded-file.js';

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

/** What TLS is made of. */
export const TLS_PARTS = ['ca', 'cert', 'key'] as const;
/** One of them. */
export type TlsPart = (typeof TLS_PARTS)[number];
/** Their bytes, as far as they are given. */
export type TlsMaterial = { [K in TlsPart]?: Buffer };

function isPem(text: string): boolean {
  return text.includes('-----BEGIN');
}

/** Those that are files, with their paths. */
export function tlsPaths(options: TlsOptions): (readonly [TlsPart, string])[] {
  const paths: (readonly [TlsPart, string])[] = [];
  for (const part of TLS_PARTS) {
    const value = options[part];
    if (typeof value === 'string' && !isPem(value)) paths.push([part, value]);
  }
  return paths;
}

/** The bytes, undefined for nothing given, or what is wrong. */
export function readTlsPart(part: TlsPart, value: unknown): Buffer | string | undefined {
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
      bytes = readBoundedFile(value);
    } catch (error) {
      // It may be a key that lost its first line: long text and base64 are not printed.
      const isPath = value.length <= 120 && !value.includes('\n') && !/^[\w+/=-]{32,}$/.test(value);
      const shown = isPath ? JSON.stringify(maskCredentials(value)) : `text of ${String(value.length)} characters`;
      return `expected a readable file or PEM text with '-----BEGIN', got ${shown} (${errorCode(error)}); write the path as the process sees it`;
    }
  }
  if (!isPem(bytes.toString('latin1'))) {
    const tool = part === 'key' ? 'openssl pkey' : 'openssl x509';
    return `expected PEM ('-----BEGIN'), got ${String(bytes.length)} bytes of something else; convert DER with '${tool} -inform der'`;
  }
  return bytes;
}

/** What is wrong with each part, and between them. */
export function materialProblems({ ca, cert, key }: TlsMaterial): TlsProblem[] {
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
          : `expected a private key in PEM, got what node:crypto cannot read (${errorCode(error)})`,
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
        message: `expected what node:tls accepts, got an error (${errorCode(error)})`,
      });
    }
  }
  return problems;
}

function certificate(part: TlsPart, pem: Buffer, problems: TlsProblem[]): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    const remedy = pem.includes('PRIVATE KEY')
      ? 'this is a private key: exchange `cert` and `key`'
      : 'write a certificate';
    problems.push({
      key: part,
      message: `expected a certificate in PEM, got what node:crypto cannot read (${errorCode(error)}); ${remedy}`,
    });
    return undefined;
  }
}

/** Whether the certificate holds at `epochNow`. */
export function validityProblems({ cert }: TlsMaterial, epochNow: number): TlsProblem[] {
  if (cert === undefined) return [];
  const { validFrom, validTo } = new X509Certificate(cert);
  if (Date.parse(validTo) < epochNow) return [{ key: 'cert', message: `expired ${validTo}` }];
  if (Date.parse(validFrom) > epochNow) return [{ key: 'cert', message: `not valid before ${validFrom}` }];
  return [];
}

/** Whether the contents are the same. */
export function sameMaterial(a: TlsMaterial, b: TlsMaterial): boolean {
  return TLS_PARTS.every((part) => {
    const [x, y] = [a[part], b[part]];
    return x === y || (x !== undefined && y !== undefined && x.equals(y));
  });
}

/** Code of a system or crypto error, or its text. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code);
  return error instanceof Error ? error.message : String(error);
}
