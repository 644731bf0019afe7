import {
  isExpired,
  MAX_SKEW_MS,
  nextOnce,
  type OnceEvent,
  type OnceLimits,
  type OnceRecord,
  type OnceReply,
} from '../../policy/once/next-once.js';
import { systemClock } from '../../time/clock.js';
import type { OnceIdentity, OnceStore } from './once-store.js';

/** What the store uses of a `Pool` of the package `pg`. */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: unknown[]; readonly rowCount: number | null }>;
}

/** What the store uses of the client that a handler has its transaction on. */
interface TransactionClient {
  query(text: string, values: unknown[]): Promise<unknown>;
  /** 'I' outside of a transaction. */
  getTransactionStatus?(): string | null;
}

export interface PostgresOnceStoreOptions {
  /** Name of the table, with its schema or without. @defaultValue 'once_keys' */
  readonly table?: string | undefined;
}

/** A key as the database has it: all as text, which type parsers that the application has set leave as it is. */
interface Row {
  readonly now: string;
  readonly scope: string | null;
  /** 'true' if the statement has begun the key. */
  readonly begun: string | null;
  /** Transaction that wrote the row; `null` if there is none. */
  readonly version: string | null;
  readonly kind: OnceRecord['kind'];
  readonly hash: string;
  readonly owner: string;
  readonly lease_ends_at: string;
  readonly expires_at: string;
  /** Base64. */
  readonly kept: string;
}

const DEFAULT_TABLE = 'once_keys';
/** Names that need no quotes, at which the names of the indexes are not cut off. */
const TABLE = /^([a-z_]\w*\.)?[a-z_]\w{0,41}$/i;

/** Time of the database in milliseconds. Not that of the transaction, which may have begun long ago. */
const NOW = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';

/** How often a statement is sent if the database ends it because of others that run at the same time. */
const MAX_TRIES = 10;
const SERIALIZATION_FAILURE = '40001';
const DEADLOCK = '40P01';
const NOT_NULL_VIOLATION = '23502';
const NO_TABLE = '42P01';

/** Pause between two searches for expired rows, in milliseconds. A search that finds as many rows as it may has no pause. */
const SWEEP_MS = 3_000;
const MAX_SWEPT = 500;

/**
 * Keeps keys in PostgreSQL 13 or later, where a handler writes its answer in its own transaction with `once.commit(client, response)`: a write
 * has exactly one effect. `PostgresOnceStore.schema()` returns its tables.
 *
 * Each event is one autocommitted statement, or two of which the second writes only if the row is still the one that the first has read.
 * Nothing is kept in the session, so that PgBouncer may pool transactions. Every isolation level will do: a row is written only when its key
 * changes hands, and leases are renewed in a table of their own, which transactions of handlers do not touch; otherwise, a renewal would end
 * each handler at REPEATABLE READ that takes longer.
 */
export class PostgresOnceStore implements OnceStore {
  readonly commits = true;
  private readonly table: string;
  private readonly sql: ReturnType<typeof statements>;
  private sweepAt = -Infinity;

  /** @throws TypeError if the name of the table needs quotes, or is longer than 42 characters */
  constructor(
    private readonly pool: PostgresPool,
    { table = DEFAULT_TABLE }: PostgresOnceStoreOptions = {},
  ) {
    this.table = checked(table);
    this.sql = statements(table);
  }

  /** Returns the statements that create the tables, for a migration. They leave tables that exist as they are. */
  static schema(table = DEFAULT_TABLE): string {
    const index = (of: string) =>
      `CREATE INDEX IF NOT EXISTS ${of.replace(/^.*\./, '')}_expires_at ON ${of} (expires_at);`;
    return `CREATE TABLE IF NOT EXISTS ${checked(table)} (
  id text PRIMARY KEY,
  kind text NOT NULL,
  hash text NOT NULL,
  owner text,
  lease_ends_at bigint NOT NULL DEFAULT 0,
  expires_at bigint NOT NULL,
  kept bytea
);
CREATE TABLE IF NOT EXISTS ${table}_renewals (
  id text,
  owner text,
  lease_ends_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  PRIMARY KEY (id, owner)
);
${index(table)}
${index(`${table}_renewals`)}
INSERT INTO ${table} (id, kind, hash, expires_at) VALUES ('', 'scope', gen_random_uuid()::text, 9223372036854775807)
  ON CONFLICT DO NOTHING;
`;
  }

  /**
   * The scope stays the same after a failover that loses records, because the effects of their handlers are lost with them.
   * @throws Error if there is no such table, or the server is a replica
   */
  async identify(): Promise<OnceIdentity> {
    const { table } = this;
    const missing = (cause?: unknown) =>
      new Error(`PostgreSQL has no table ${table} with a scope; add PostgresOnceStore.schema() to a migration`, {
        cause,
      });
    let row: { readonly now: string; readonly scope: string | null; readonly problem: string | null } | undefined;
    try {
      // Safe cast: the statement names these columns.
      [row] = (await this.run(this.sql.identify, [])).rows as [typeof row];
    } catch (error) {
      throw codeOf(error) === NO_TABLE ? missing(error) : error;
    }
    if (typeof row?.problem === 'string')
      throw new Error(`The table ${table} is ${row.problem}; PostgresOnceStore needs the primary, and writes`);
    if (typeof row?.scope !== 'string') throw missing();
    return { scope: row.scope, now: Number(row.now) };
  }

  /** @throws the error of the database; an Error if the transaction of a handler has locked the key, and `event` must wait for its end */
  async apply(id: string, event: OnceEvent, limits: OnceLimits): Promise<OnceReply> {
    this.sweep();
    const attempt = event.type === 'attempt' ? [event.hash, event.owner, event.before, event.scope] : [];
    const values = [id, limits.leaseMs, limits.ttlMs, attempt[0], attempt[1], attempt[2], attempt[3]];
    for (let tries = 0, seen = ''; tries < MAX_TRIES; tries += 1) {
      // Safe cast: the statement names these columns.
      const row = (await this.run(this.sql.look, values)).rows[0] as Row;
      if (row.begun !== null) return { is: 'begin' };
      if (row.scope === null) throw new Error(`The table ${this.table} has lost its scope; nothing has run`);
      const { scope } = row;
      const now = Number(row.now);
      const record = recordOf(row);
      const step = nextOnce(record, event, { ...limits, now, scope, commits: true });
      const isGone = record === undefined || isExpired(record, now);
      if (step.record === record || (step.record === undefined && isGone)) return step.reply;
      // Locked: the transaction of a handler is about to commit, or its process is frozen. It holds a connection; nobody else waits with one.
      const found = `${String(row.version)} ${row.lease_ends_at}`;
      if (row.version !== null && found === seen) {
        if (event.type === 'attempt' || event.type === 'ask' || event.type === 'settle')
          return { is: 'running', own: false };
        throw new Error('The transaction of the handler has not ended');
      }
      if (await this.write(id, row, event.type === 'renew', step.record, now)) return step.reply;
      seen = found;
    }
    throw new Error('The key changes too often');
  }

  /**
   * Makes the database end the transaction of `client` if `owner` has lost the key: the row then has no hash for it, and must have one. Two
   * transactions take turns at the row, and the second finds no owner.
   */
  async commit(client: unknown, id: string, owner: string, end: Uint8Array, { ttlMs }: OnceLimits): Promise<void> {
    // Safe cast: see the docs of `once.commit()`.
    const given = client as TransactionClient;
    if ('totalCount' in given || given.getTransactionStatus?.() === 'I')
      throw new TypeError('once.commit(client): expected the client of the transaction, between its BEGIN and COMMIT');
    try {
      await given.query(this.sql.commit, [id, owner, end, ttlMs]);
    } catch (error) {
      if (codeOf(error) !== NOT_NULL_VIOLATION) throw error;
      const text =
        'Another process has taken over the key, or its answer is already written; roll the transaction back';
      throw new Error(text, { cause: error });
    }
  }

  /** Writes the record that follows `row`. Returns false if `row` is no longer the newest, or locked. */
  private async write(
    id: string,
    { version, lease_ends_at: lease }: Row,
    renews: boolean,
    next: OnceRecord | undefined,
    now: number,
  ): Promise<boolean> {
    const { sql } = this;
    const isOf = [id, version, lease];
    if (next === undefined) return isOne(await this.run(sql.remove, isOf));
    const owner = 'owner' in next ? next.owner : null;
    // The lease of a key in doubt has ended by now, and one that is renewed later ends later.
    const leaseEndsAt = next.kind === 'running' ? next.leaseEndsAt : next.kind === 'in-doubt' ? now : 0;
    if (renews && next.kind === 'running')
      return isOne(await this.run(sql.renew, [id, owner, leaseEndsAt, next.expiresAt]));
    const hash = 'hash' in next ? next.hash : '';
    const kept = next.kind === 'done' ? next.end : null;
    const columns = [next.kind, hash, owner, leaseEndsAt, next.expiresAt, kept];
    return isOne(
      await (version === null ? this.run(sql.add, [id, ...columns]) : this.run(sql.change, [...isOf, ...columns])),
    );
  }

  private async run(text: string, values: unknown[]): ReturnType<PostgresPool['query']> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.pool.query(text, values);
      } catch (error) {
        const code = codeOf(error);
        if (tries === MAX_TRIES || (code !== SERIALIZATION_FAILURE && code !== DEADLOCK)) throw error;
      }
    }
  }

  private sweep(): void {
    if (systemClock.now() < this.sweepAt) return;
    this.sweepAt = Infinity;
    const again = (afterMs: number) => {
      this.sweepAt = systemClock.now() + afterMs;
    };
    // Without retries: the next search finds what this one leaves.
    this.pool.query(this.sql.sweep).then(
      ({ rowCount }) => {
        again(rowCount === MAX_SWEPT ? 0 : SWEEP_MS);
      },
      () => {
        again(SWEEP_MS);
      },
    );
  }
}

function statements(table: string) {
  const renewals = `${table}_renewals`;
  /** The row that was read, unless the transaction of a handler has locked it. `SKIP LOCKED`, because nobody waits for that transaction. */
  const free = `WITH free AS (
  SELECT FROM ${table} k WHERE id = $1 AND xmin = $2::xid
    AND NOT EXISTS (SELECT FROM ${renewals} r WHERE r.id = $1 AND r.owner = k.owner AND r.lease_ends_at > $3::bigint)
  FOR UPDATE OF k SKIP LOCKED)`;
  return {
    identify: `SELECT ${NOW}::text AS now, (SELECT hash FROM ${table} WHERE id = '') AS scope, CASE
  WHEN pg_is_in_recovery() THEN 'on a replica' WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only' END AS problem`,
    // Begins a key of which there is no row. An INSERT that meets a locked row would wait for the transaction in spite of DO NOTHING; a SELECT
    // does not.
    look: `WITH clock AS MATERIALIZED (SELECT ${NOW} AS now),
store AS (SELECT hash AS scope FROM ${table} WHERE id = ''),
claim AS (
  SELECT k.xmin::text AS version, CASE WHEN r.id IS NULL THEN kind ELSE 'running' END AS kind, hash, k.owner, kept,
    coalesce(r.lease_ends_at, k.lease_ends_at) AS lease_ends_at, coalesce(r.expires_at, k.expires_at) AS expires_at
  FROM ${table} k
  LEFT JOIN ${renewals} r ON r.id = k.id AND r.owner = k.owner AND r.lease_ends_at > k.lease_ends_at
  WHERE k.id = $1),
begun AS (
  INSERT INTO ${table} (id, kind, hash, owner, lease_ends_at, expires_at)
  SELECT $1, 'running', $4, $5, now + $2::bigint, now + $3::bigint FROM clock, store
  WHERE now <= $6::float8 AND ($6::float8 = 'Infinity' OR $6::float8 <= now + $3::bigint / 2 + ${String(MAX_SKEW_MS)})
    AND scope = coalesce($7, scope) AND NOT EXISTS (SELECT FROM claim)
  ON CONFLICT DO NOTHING RETURNING true AS begun)
SELECT now::text, scope, version, kind, hash, owner, lease_ends_at::text, expires_at::text, encode(kept, 'base64') AS kept, begun::text
FROM clock LEFT JOIN store ON true LEFT JOIN claim ON true LEFT JOIN begun ON true`,
    add: `INSERT INTO ${table} (id, kind, hash, owner, lease_ends_at, expires_at, kept) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING`,
    change: `${free} UPDATE ${table} SET kind = $4, hash = $5, owner = $6, lease_ends_at = $7, expires_at = $8, kept = $9
WHERE id = $1 AND EXISTS (SELECT FROM free)`,
    remove: `${free} DELETE FROM ${table} WHERE id = $1 AND EXISTS (SELECT FROM free)`,
    renew: `INSERT INTO ${renewals} (id, owner, lease_ends_at, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (id, owner) DO UPDATE SET lease_ends_at = excluded.lease_ends_at, expires_at = excluded.expires_at`,
    commit: `INSERT INTO ${table} (id, kind, hash, kept, expires_at)
VALUES ($1, 'done', (SELECT hash FROM ${table} WHERE id = $1 AND owner = $2 FOR UPDATE), $3, ${NOW} + $4::bigint)
ON CONFLICT (id) DO UPDATE SET kind = 'done', owner = NULL, lease_ends_at = 0, kept = excluded.kept, expires_at = excluded.expires_at`,
    // A scalar, which is a condition of the index.
    sweep: `WITH clock AS MATERIALIZED (SELECT ${NOW} AS now),
ended AS (DELETE FROM ${renewals} WHERE (id, owner) IN (
  SELECT id, owner FROM ${renewals} WHERE expires_at <= (SELECT now FROM clock) AND lease_ends_at <= (SELECT now FROM clock)
  ORDER BY expires_at LIMIT ${String(MAX_SWEPT)} FOR UPDATE SKIP LOCKED))
DELETE FROM ${table} WHERE id IN (
  SELECT id FROM ${table} k WHERE k.expires_at <= (SELECT now FROM clock) AND k.lease_ends_at <= (SELECT now FROM clock)
    AND NOT EXISTS (
      SELECT FROM ${renewals} r WHERE r.id = k.id AND r.owner = k.owner
        AND greatest(r.expires_at, r.lease_ends_at) > (SELECT now FROM clock))
  ORDER BY k.expires_at LIMIT ${String(MAX_SWEPT)} FOR UPDATE OF k SKIP LOCKED)`,
  };
}

function recordOf({ version, kind, hash, owner, kept, ...times }: Row): OnceRecord | undefined {
  if (version === null) return undefined;
  const expiresAt = Number(times.expires_at);
  switch (kind) {
    case 'running':
      return { kind, hash, owner, leaseEndsAt: Number(times.lease_ends_at), expiresAt };
    case 'in-doubt':
      return { kind, hash, owner, expiresAt };
    case 'done':
      return { kind, hash, end: Buffer.from(kept, 'base64'), expiresAt };
    case 'closed':
      return { kind, expiresAt };
  }
}

function checked(table: string): string {
  if (TABLE.test(table)) return table;
  throw new TypeError(
    `table: expected a name of at most 42 characters that needs no quotes, such as 'once_keys' or 'shop.once_keys', got '${table}'`,
  );
}

function isOne({ rowCount }: { readonly rowCount: number | null }): boolean {
  return rowCount === 1;
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | null)?.code;
}
