import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { escapeControls, errorMessage, isError, maskCredentials } from '../../errors/error-message.js';

/** TLS options of a client. A string that contains '-----BEGIN' is PEM; any other string is a path. A Buffer is PEM. */
export interface TlsOptions {
  /** Trusted certificate authorities. @defaultValue Node's default authorities, or those in `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` */
  readonly ca?: string | Buffer | undefined;
  /** Certificate chain of this client, for mutual TLS; requires `key`. */
  readonly cert?: string | Buffer | undefined;
  /** Unencrypted private key of this client; requires `cert`. */
  readonly key?: string | Buffer | undefined;
  /** Name that the server's certificate must contain, if it differs from the target's host. @defaultValue the target's host */
  readonly serverName?: string | undefined;
  /**
   * True if the files are read again every 10 s. After a valid change, the client reconnects without interrupting calls.
   * @defaultValue false
   */
  readonly reload?: boolean | undefined;
}

export interface TlsProblem {
  /** 'ca', 'cert', 'key', or 'reload'. */
  readonly key: string;
  readonly message: string;
}

export const TLS_PARTS = ['ca', 'cert', 'key'] as const;
export type TlsPart = (typeof TLS_PARTS)[number];
export type TlsMaterial = { [K in TlsPart]?: Buffer };

const CONVERT_CERTIFICATE = "convert DER with 'openssl x509 -inform der'";
const CONVERT_KEY = "convert DER with 'openssl pkey -inform der'";
const ESCAPED_LINE_BREAKS =
  "expected PEM text with line breaks, got escaped '\\n' (from an environment variable?); append .replace(/\\\\n/g, '\\n') to the value";
const NO_LINE_BREAKS =
  'expected PEM text with line breaks, got PEM text without them (from an environment variable or a YAML file?); keep its line breaks, or write the path of a file';
const ENCRYPTED_KEY =
  "expected an unencrypted private key, got an encrypted one; decrypt it with 'openssl pkey -in key.pem -out plain.pem'";

function otherKey(chain: string): string {
  return `expected the private key of the first certificate in \`${chain}\`, got another key; write a matching pair`;
}

function unreadable(expected: string, error: unknown): string {
  return `expected ${expected}, got data that node:crypto cannot read (${errorCode(error)})`;
}

function rejected(error: unknown): string {
  return `expected TLS material that node:tls accepts, got an error (${errorCode(error)})`;
}

function isPem(text: string): boolean {
  return text.includes('-----BEGIN');
}

export function tlsPaths(options: TlsOptions): (readonly [TlsPart, string])[] {
  const paths: (readonly [TlsPart, string])[] = [];
  for (const part of TLS_PARTS) {
    const value = options[part];
    if (typeof value === 'string' && !isPem(value)) paths.push([part, value]);
  }
  return paths;
}

/** Reads one part: returns its bytes, `undefined` if it is not set, or a problem as text. */
export function readTlsPart(part: TlsPart, value: unknown): Buffer | string | undefined {
  if (value === undefined) return undefined;
  let bytes: Buffer;
  if (Buffer.isBuffer(value)) bytes = value;
  else if (typeof value !== 'string')
    return `expected a path, PEM text, or a Buffer, got ${value === null ? 'null' : typeof value}`;
  else if (isPem(value)) bytes = Buffer.from(value);
  // '-----BEGIN' in base64, as in a Kubernetes Secret.
  else if (value.startsWith('LS0tLS1CRUdJT'))
    return "expected PEM text, got PEM text in base64; write Buffer.from(value, 'base64')";
  else {
    try {
      bytes = readFileSync(value);
    } catch (error) {
      // Long text and base64 are not printed, because the value may be a key without its first line.
      const isPath = value.length <= 120 && !value.includes('\n') && !/^[\w+/=-]{32,}$/.test(value);
      const path = maskCredentials(value);
      const shown = isPath ? JSON.stringify(path) : `a string of ${String(value.length)} characters`;
      // Resolved after masking, because `resolve` turns '://' into ':/'.
      const resolved =
        isPath && path !== '' && !isAbsolute(path) ? `, resolved to ${escapeControls(resolve(path))}` : '';
      return `expected a readable file or PEM text with '-----BEGIN', got ${shown} (${errorCode(error)}${resolved}); write a path that this process can read`;
    }
  }
  const text = bytes.toString('latin1');
  if (!isPem(text)) {
    const remedy = part === 'key' ? CONVERT_KEY : CONVERT_CERTIFICATE;
    return `expected PEM ('-----BEGIN'), got ${String(bytes.length)} bytes in another format; ${remedy}`;
  }
  if (/-----\\n/.test(text)) return ESCAPED_LINE_BREAKS;
  if (/-----BEGIN [^-\n]*-----(?![ \t]*\r?\n)/.test(text)) return NO_LINE_BREAKS;
  return bytes;
}

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
        message: encrypted ? ENCRYPTED_KEY : `${unreadable('a PEM private key', error)}; write a private key`,
      });
    }
  }
  if (own !== undefined && privateKey !== undefined && !own.checkPrivateKey(privateKey)) {
    problems.push({ key: 'key', message: otherKey('cert') });
  }
  if (problems.length === 0) {
    try {
      createSecureContext({ ca, cert, key });
    } catch (error) {
      problems.push({
        key: cert === undefined ? 'ca' : 'cert',
        message: rejected(error),
      });
    }
  }
  return problems;
}

/**
 * Returns the problem of `ServerCredentials` that node:tls rejected with `error`; `undefined` if `error` has another cause. Decides by the
 * error code, because grpc-js has no public API for the contents of credentials.
 */
export function serverCredentialsProblem(error: unknown): string | undefined {
  const code = errorCode(error);
  if (!/^ERR_(?:OSSL|SSL|TLS|CRYPTO)_/.test(code)) return undefined;
  if (code.endsWith('_MISMATCH') && code.includes('_KEY_')) return otherKey('cert_chain');
  return /_(?:BAD_DECRYPT|INTERRUPTED_OR_CANCELLED|BAD_PASSWORD_READ)$/.test(code) ? ENCRYPTED_KEY : rejected(error);
}

function certificate(part: TlsPart, pem: Buffer, problems: TlsProblem[]): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    const forKey = part === 'ca' ? 'write the certificate of the certificate authority' : 'swap `cert` and `key`';
    const remedy = pem.includes('PRIVATE KEY') ? `this is a private key; ${forKey}` : 'write a certificate';
    problems.push({
      key: part,
      message: `${unreadable('a PEM certificate', error)}; ${remedy}`,
    });
    return undefined;
  }
}

/** Returns 'expired on …' or 'is not valid before …' if this client's certificate is not valid at `epochNow`; otherwise `undefined`. */
export function validityProblem({ cert }: TlsMaterial, epochNow: number): string | undefined {
  if (cert === undefined) return undefined;
  const { validFrom, validTo } = new X509Certificate(cert);
  if (Date.parse(validTo) < epochNow) return `expired on ${validTo}`;
  return Date.parse(validFrom) > epochNow ? `is not valid before ${validFrom}` : undefined;
}

export function sameMaterial(a: TlsMaterial, b: TlsMaterial): boolean {
  return TLS_PARTS.every((part) => {
    const [x, y] = [a[part], b[part]];
    return x === y || (x !== undefined && y !== undefined && x.equals(y));
  });
}

/** Returns the code of a system or crypto error, or its message if it has none. */
export function errorCode(error: unknown): string {
  return isError(error) && 'code' in error ? String(error.code) : errorMessage(error);
}
