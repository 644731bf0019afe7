// A process that begins a key, and whose handler writes an order and its answer in one transaction:
//   node frozen-handler.mjs '{ "connection": {}, "hash": "…", "id": "order-1", "owner": "one", "item": "tea", "settings": "" }'
// Before the handler begins, before it calls commit(), and before it commits, it says so over IPC, and waits for a message, so that a test can
// freeze it there.
import { once } from 'node:events';
import pg from 'pg';
import { PostgresOnceStore } from 'nestjs-resilient-grpc/server';

const { connection, hash, id, owner, item, settings } = JSON.parse(process.argv[2]);
// Its lease is over as soon as it begins.
const limits = { leaseMs: 0, ttlMs: 600_000 };
const pool = new pg.Pool({ ...connection, options: settings });
pool.on('error', () => undefined);
const store = new PostgresOnceStore(pool);
const pause = async (before) => {
  process.send({ before });
  await once(process, 'message');
};

process.send({ listening: 1 });
const attempt = { type: 'attempt', hash, owner, before: Infinity };
const { is } = await store.apply(id, attempt, limits);
process.send({ is });
const client = await pool.connect();
client.on('error', () => undefined);
try {
  await client.query('BEGIN');
  await client.query('INSERT INTO orders VALUES ($1)', [item]);
  await pause('commit()');
  await store.commit(client, id, owner, Buffer.from(item), limits);
  await pause('COMMIT');
  const { command } = await client.query('COMMIT');
  process.send({ command });
} catch (error) {
  await client.query('ROLLBACK').catch(() => undefined);
  process.send({ error: error.message });
}
client.release(true);
await pool.end();
process.disconnect();
