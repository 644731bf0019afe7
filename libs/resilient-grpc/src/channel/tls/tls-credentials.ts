import { readFile } from 'node:fs/promises';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { escapeControls, maskCredentials } from '../../errors/error-message.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { CredentialsSource } from '../channel-settings.js';
import {
  TLS_PARTS,
  errorCode,
  materialProblems,
  tlsPaths,
  readTlsPart,
  sameMaterial,
  validityProblem,
  type TlsMaterial,
  type TlsOptions,
  type TlsProblem,
} from './tls-material.js';

export interface TlsDependencies {
  readonly clock: Clock;
  /** Reports new files that cannot be used. The old files stay in use. */
  readonly report: (message: string, event: 'tls-reload') => void;
}

/** Interval in milliseconds at which files are read again. */
const TLS_RELOAD_CHECK_MS = 10_000;

const BOTH_OR_NEITHER = 'write both for mutual TLS, or neither';

/** Creates TLS credentials. Reads and validates all parts immediately. */
export function openTlsCredentials(
  options: TlsOptions,
  dependencies: TlsDependencies,
):
  | { readonly ok: true; readonly credentials: TlsCredentials }
  | { readonly ok: false; readonly problems: readonly TlsProblem[] } {
  const problems: TlsProblem[] = [];
  const material: TlsMaterial = {};
  for (const part of TLS_PARTS) {
    const read = readTlsPart(part, options[part]);
    if (typeof read === 'string') problems.push({ key: part, message: read });
    else if (read !== undefined) material[part] = read;
  }
  if (options.reload === true && tlsPaths(options).length === 0) {
    problems.push({
      key: 'reload',
      message: 'expected a path to watch in ca, cert, or key, got none; write paths, or remove reload',
    });
  }
  if (options.cert === undefined && options.key !== undefined) {
    problems.push({ key: 'cert', message: `expected cert together with key, got only key; ${BOTH_OR_NEITHER}` });
  }
  if (options.key === undefined && options.cert !== undefined) {
    problems.push({ key: 'key', message: `expected key together with cert, got only cert; ${BOTH_OR_NEITHER}` });
  }
  if (problems.length === 0) problems.push(...materialProblems(material));
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, credentials: new TlsCredentials(options, material, dependencies) };
}

/** Credentials from TLS options. If `reload` is true, they are replaced when the files change. */
class TlsCredentials implements CredentialsSource {
  current: ChannelCredentials;
  private readonly listeners = new Set<() => void>();
  private timer: Timer | undefined;
  private closed = false;
  private rejected = '';

  constructor(
    private readonly options: TlsOptions,
    private material: TlsMaterial,
    private readonly dependencies: TlsDependencies,
  ) {
    this.current = toCredentials(material);
  }

  get certificateProblem(): string | undefined {
    return validityProblem(this.material, this.dependencies.clock.epoch());
  }

  watch(rotated: () => void): () => void {
    this.listeners.add(rotated);
    this.arm();
    return () => {
      this.listeners.delete(rotated);
      if (this.listeners.size === 0) this.disarm();
    };
  }

  /** Reads the files again; called periodically. Resolves after the listeners have been notified of changed files. */
  async check(): Promise<void> {
    const next: TlsMaterial = { ...this.material };
    const paths = tlsPaths(this.options);
    for (const [part, path] of paths) {
      try {
        next[part] = await readFile(path);
      } catch (error) {
        // Reported immediately, although a replacement in several steps can cause this error. In that case, the next check succeeds.
        this.reject(`cannot be read: ${part} ${shown(path)} (${errorCode(error)})`);
        return;
      }
    }
    if (this.closed || sameMaterial(next, this.material)) {
      this.rejected = '';
      return;
    }
    const problems = materialProblems(next);
    const invalid = problems.length > 0 ? undefined : validityProblem(next, this.dependencies.clock.epoch());
    if (invalid !== undefined) {
      problems.push({ key: 'cert', message: `expected a certificate that is valid now, got one that ${invalid}` });
    }
    const [first] = problems;
    if (first !== undefined) {
      const path = paths.find(([part]) => part === first.key)?.[1];
      this.reject(`cannot be used: ${first.key}${path === undefined ? '' : ` ${shown(path)}`}: ${first.message}`);
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

  private reject(problem: string): void {
    if (this.closed || this.rejected === problem) return;
    this.rejected = problem;
    this.dependencies.report(`new TLS files ${problem}; the old ones stay in use`, 'tls-reload');
  }

  private arm(): void {
    if (this.timer !== undefined || this.closed || this.options.reload !== true) return;
    const timer = this.dependencies.clock.setTimer(() => {
      void this.check().finally(() => {
        // Keeps a newer timer: during the check, the last listener may have been removed, and `watch()` may have set a timer for a new
        // listener.
        if (this.timer !== timer) return;
        this.timer = undefined;
        this.arm();
      });
    }, TLS_RELOAD_CHECK_MS);
    this.timer = timer;
  }

  private disarm(): void {
    this.timer?.clear();
    this.timer = undefined;
  }
}

function shown(path: string): string {
  return `'${escapeControls(maskCredentials(path))}'`;
}

function toCredentials({ ca, cert, key }: TlsMaterial): ChannelCredentials {
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
}
