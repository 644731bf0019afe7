import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { consumerOf, run, type PackedLibrary } from '../consumers/packed-library.js';
import { codeBlocks } from './markdown.js';

/** Generous limit for the start of a program. */
const IN_TIME = { timeoutMs: 60_000 };

/** A response of the application. */
export interface Response {
  readonly status: number | undefined;
  readonly body: unknown;
}

/**
 * Creates a CommonJS project with the schematics of Nest 12 and the packages of Nest 11. Adds the blocks of the README, replacing
 * only the address of the server, and builds the project. Requests an order while the gRPC server runs, and again after it has closed.
 */
export async function followReadme(packed: PackedLibrary): Promise<readonly Response[]> {
  const application = consumerOf(packed, { copied: [], nest: 11 });
  const tool = (path: string) => join(application.folder, 'node_modules', path);
  const template = ['--no-dry-run', '@nestjs/schematics:application', '--name', 'shop', '--type', 'cjs'];
  const project = join(application.folder, 'shop');
  run(process.execPath, [tool('@angular-devkit/schematics-cli/bin/schematics.js'), ...template], application.folder);
  for (const { text } of codeBlocks('README.md')) {
    const path = /^\/\/ (.+\.(ts|proto))\n/.exec(text)?.[1];
    if (path !== undefined) writeFileSync(join(project, path), text);
  }
  const server = await ScriptedGrpcServer.start({
    protoPath: join(project, 'orders.proto'),
    scripts: { Get: { message: { id: '7', item: 'tea' } } },
  });
  edit(join(project, 'src/orders.module.ts'), 'localhost:50051', server.url);
  edit(join(project, 'src/app.module.ts'), 'imports: []', 'imports: [OrdersModule]');
  edit(join(project, 'src/app.module.ts'), '\n\n', "\nimport { OrdersModule } from './orders.module';\n\n");
  edit(join(project, 'src/main.ts'), '  await app.listen', '  app.enableShutdownHooks();\n  await app.listen');
  run(process.execPath, [tool('@nestjs/cli/bin/nest.js'), 'build'], project);

  const socketPath = join(project, 'http');
  const env = { ...process.env, PORT: socketPath, NO_COLOR: '1' };
  const main = spawn(process.execPath, ['dist/main.js'], { cwd: project, env, stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(main, 'close');
  try {
    await waitFor(() => existsSync(socketPath), IN_TIME);
    const get = async (): Promise<Response> => {
      const [response] = (await once(request({ socketPath, path: '/orders/7' }).end(), 'response')) as [
        IncomingMessage,
      ];
      const body = (await response.setEncoding('utf8').toArray()).join('');
      return { status: response.statusCode, body: JSON.parse(body) as unknown };
    };
    const order = await get();
    await server.close();
    return [order, await get()];
  } finally {
    main.kill('SIGKILL');
    await ended;
    await server.close();
    application.remove();
  }
}

/** Replaces `from`, which the file must contain. */
function edit(path: string, from: string, to: string): void {
  const text = readFileSync(path, 'utf8');
  if (!text.includes(from)) throw new Error(`${path} does not contain ${JSON.stringify(from)}`);
  writeFileSync(path, text.replace(from, to));
}
