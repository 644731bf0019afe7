import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { runDoctor } from '../../libs/resilient-grpc/dist/doctor/run-doctor.js';
import { ORDERS_PROTO } from '../nest/places.js';
import { COMMAND, command, createFile, doctor, run } from './support.js';

describe('command', () => {
  it('lists every option of the doctor with --help', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    const source = readFileSync(
      new URL('../../libs/resilient-grpc/src/doctor/doctor-options.ts', import.meta.url),
      'utf8',
    );
    const options = [...source.matchAll(/^ {2}'?([a-z-]+)'?: \{ type:/gm)].map((match) => match[1]!);
    expect(options.length).toBeGreaterThan(10);
    expect(options.filter((option) => !stdout.includes(`--${option}`))).toEqual([]);
  });

  it('exits with code 2 and reports invalid arguments of the doctor on stderr', async () => {
    const { code, stdout, stderr } = await command(['doctor', 'orders:50051', '--keepalive', '10']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe(
      '--keepalive: expected a duration above 0 such as 30s or 10m, got "10"\n' + 'see nestjs-resilient-grpc --help\n',
    );
  });

  it('prints the doctor report as one JSON line with --json, and as text without colors if stdout is not a terminal', async () => {
    const args = ['doctor', '--service-config', createFile('config.json', '{}')];
    const json = await command([...args, '--json']);
    expect(json.stdout).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: true, checks: [{ check: 'service-config', status: 'ok' }] });
    const text = await run(args);
    expect(text.stdout).not.toMatch(/\u001b/);
  });

  it('keeps the exit code of the doctor if the reader of its output closes the pipe', async () => {
    const args = [COMMAND, 'doctor', '--service-config', createFile('config.json', '{}')];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (bytes) => (stderr += String(bytes)));
    expect([await once(child, 'close'), stderr]).toEqual([[0, null], '']);
  });
});

/**
 * Replaces the values in a JSON document with their types, and each `facts` with the string 'facts'. A list of objects becomes a list of
 * one object with all their keys; any other list becomes the list of the types of its elements, without repetition.
 */
function typesOf(value: unknown): unknown {
  if (Array.isArray(value)) {
    const objects = value.filter((one): one is object => typeof one === 'object' && one !== null);
    return objects.length === value.length
      ? [typesOf(Object.assign({}, ...objects))]
      : [...new Set(value.map((one) => typeof one))];
  }
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, key === 'facts' ? 'facts' : typesOf(one)]));
}

describe('--json', () => {
  const config = () => createFile('config.json', { methodConfig: [{ name: [{}], timeout: 'soon' }] });

  it('prints exactly the properties of doctor report version 1 for passed, failed, and skipped checks with --json', async () => {
    const { stdout, code } = await run([
      'doctor',
      '127.0.0.1:1',
      '--idle',
      '1s',
      '--service-config',
      config(),
      '--json',
    ]);
    const report = JSON.parse(stdout) as { readonly checks: readonly { readonly status: string }[] };
    expect(typesOf(report)).toEqual({
      version: 'number',
      target: 'string',
      ok: 'boolean',
      exitCode: 'number',
      problems: [{}],
      checks: [
        {
          check: 'string',
          status: 'string',
          message: 'string',
          remedy: 'string',
          problems: [{ path: 'string', message: 'string' }],
          facts: 'facts',
        },
      ],
    });
    expect(report).toMatchObject({ version: 1, ok: false, exitCode: code });
    expect(new Set(report.checks.map(({ status }) => status))).toEqual(new Set(['ok', 'failed', 'skipped']));
  });

  it.each([
    [['doctor', 'orders:50051', '--json=true'], 'arguments', "Option '--json' does not take an argument"],
    [['doctr', '--json'], 'command', `expected 'doctor' or 'migrate', got "doctr"; write doctor <target>`],
  ])(
    'prints only one JSON document for invalid command-line arguments with --json: %j',
    async (args, path, message) => {
      const { code, stdout, stderr } = await run(args);
      expect([code, stderr]).toEqual([2, '']);
      expect(JSON.parse(stdout)).toEqual({
        version: 1,
        ok: false,
        exitCode: 2,
        problems: [{ path, message }],
        checks: [],
      });
    },
  );

  it('prints a JSON document with the error if a doctor check throws', async () => {
    let stdout = '';
    const env = {
      get GRPC_NODE_USE_ALTERNATIVE_RESOLVER(): string {
        throw new Error('no such variable');
      },
    };
    const stream = { write: (text: string) => (stdout += text) };
    expect(await runDoctor(['doctor', '127.0.0.1:1', '--json'], { env, stdout: stream, stderr: stream })).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      exitCode: 1,
      problems: [{ path: 'doctor', message: 'no such variable' }],
      checks: [],
    });
  });
});

describe('long results', () => {
  it("truncates the doctor's results for 3,000 addresses and a service config with 1,000 problems", async () => {
    const addresses = Array.from(
      { length: 3_000 },
      (_, index) => `127.0.${String(index >> 8)}.${String(index & 255)}:1`,
    );
    const name = [{ service: 'orders.v1.Orders' }];
    const config = createFile('config.json', { methodConfig: new Array(1_000).fill({ name, timeout: 'soon' }) });
    const args = ['doctor', `ipv4:${addresses.join(',')}`, '--service-config', config, '--timeout', '5s'];
    for (const form of [[], ['--json']]) {
      const { stdout } = await run([...args, ...form]);
      expect(stdout).toContain('3000 addresses');
      expect(stdout).toContain(', first 20 tried');
      expect(stdout.length).toBeLessThan(100_000);
    }
  });
});

describe('service config file', () => {
  const get = { service: 'orders.v1.Orders', method: 'Get' };
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: '0.1s',
    maxBackoff: '1s',
    backoffMultiplier: 2,
    retryableStatusCodes: ['UNAVAILABLE'],
  };

  it("compares a valid service config file with a .proto file in the doctor's service-config check", async () => {
    const file = createFile('config.json', { methodConfig: [{ name: [get], retryPolicy }] });
    const { code, of } = await doctor(['--service-config', file, '--proto', ORDERS_PROTO]);
    expect(code).toBe(0);
    expect(of('service-config')).toMatchObject({ status: 'ok', facts: { comparedWith: ORDERS_PROTO } });
  });

  it("warns in the doctor's service-config check about a method and a service that the .proto file does not define", async () => {
    const name = [{ ...get, method: 'Gett' }, { service: 'orders.v1.Order' }];
    const file = createFile('config.json', { methodConfig: [{ name, timeout: '1s' }] });
    const { of } = await doctor(['--service-config', file, '--proto', ORDERS_PROTO]);
    expect(of('service-config')).toMatchObject({ status: 'warning', facts: { comparedWith: ORDERS_PROTO } });
    expect(of('service-config').problems?.map(({ message }) => message)).toEqual([
      `serviceConfig names orders.v1.Order, which ${ORDERS_PROTO} does not list`,
      'serviceConfig names orders.v1.Orders/Gett, which the contract does not define',
    ]);
  });

  it("fails the doctor's service-config check and reports every problem of the file with its path and an explanation", async () => {
    const broken = { ...retryPolicy, maxAttempts: 1, maxBackoff: '500ms' };
    const file = createFile('config.json', {
      methodConfig: [{ name: [get], retryPolicy: broken }],
      retrythrottling: {},
    });
    const { code, of } = await doctor(['--service-config', file]);
    expect(code).toBe(1);
    expect(of('service-config').problems).toEqual([
      { path: 'retrythrottling', message: "unknown option; did you mean 'retryThrottling'?" },
      { path: 'methodConfig[0].retryPolicy.maxAttempts', message: 'expected >=2, got 1' },
      {
        path: 'methodConfig[0].retryPolicy.maxBackoff',
        message: 'expected a duration above 0, in seconds as a string such as "0.5s", got "500ms"',
      },
    ]);
  });

  it.each([
    ['{"methodConfig":[', 'expected a service config as an object or as JSON'],
    [
      { loadBalancingConfig: [{ rund_robin: {} }] },
      'expected a policy that grpc-js supports, got rund_robin; write [{ "round_robin": {} }]',
    ],
  ])(
    "fails the doctor's service-config check for a file without a valid service config: %j",
    async (content, message) => {
      const { code, of } = await doctor(['--service-config', createFile('config.json', content)]);
      expect(code).toBe(1);
      expect(of('service-config').problems?.[0]?.message).toContain(message);
    },
  );

  it("reports ENOENT in the doctor's service-config check if the service config file or the .proto file does not exist", async () => {
    expect((await doctor(['--service-config', '/there/is/none.json'])).of('service-config').message).toContain(
      'ENOENT',
    );
    const file = createFile('config.json', {});
    const { of } = await doctor(['--service-config', file, '--proto', '/there/is/none.proto']);
    expect(of('service-config').problems).toMatchObject([
      { path: '--proto', message: expect.stringContaining('ENOENT') },
    ]);
  });
});

describe('migrate without ts-morph', () => {
  it('prints one command line that installs the missing ts-morph and runs migrate again', async () => {
    const cwd = mkdtempSync(join(tmpdir(), 'migrate-'));
    onTestFinished(() => rmSync(cwd, { recursive: true }));
    writeFileSync(join(cwd, 'tsconfig.json'), '{}');
    writeFileSync(join(cwd, 'module.ts'), "import { ClientsModule } from '@nestjs/microservices';\n");
    const module = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;
    const hook = module(`export function resolve(name, context, next) {
      if (name !== 'ts-morph') return next(name, context);
      throw Object.assign(new Error("Cannot find package 'ts-morph'"), { code: 'ERR_MODULE_NOT_FOUND' });
    }`);
    const env = { NODE_OPTIONS: `--import ${module(`import { register } from 'node:module'; register("${hook}");`)}` };
    expect(await command(['migrate'], { cwd, env })).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'migrate requires ts-morph; run npm i -D ts-morph@28 (or pnpm add -D, yarn add -D), ' +
        'and then npx nestjs-resilient-grpc migrate\n',
    });
  });
});
