import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { bundled } from '../support/bundled.js';
import { IN_NAMESPACES, skipWithout } from '../support/programs.js';

const CLIENT = bundled(new URL('./system-resolver-client.ts', import.meta.url));
/**
 * Shell script for a new network namespace, in which the loopback interface is down. Brings this interface up, mounts `$0` as
 * /etc/resolv.conf, and runs its arguments as a command.
 */
const SCRIPT = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"';

it("follows changes to the DNS records of a name that the system's resolver resolves", async ({ skip }) => {
  skip(...skipWithout('dnsmasq', 'namespaces'));
  const folder = mkdtempSync(join(tmpdir(), 'resolver-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const resolvConf = join(folder, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver 127.0.0.1\n');
  const [unshare, ...namespaces] = IN_NAMESPACES;
  const client = [process.execPath, CLIENT];
  const { stdout } = await promisify(execFile)(unshare, [...namespaces, 'sh', '-c', SCRIPT, resolvConf, ...client], {
    timeout: 55_000,
  });
  const { afterRemoved, ...rest } = JSON.parse(stdout) as Record<string, number>;
  expect(rest).toEqual({ beforeAdded: 0, failed: 0, ended: 0 });
  // A call that was sent before the addresses changed may still arrive.
  expect(afterRemoved).toBeLessThanOrEqual(1);
});
