import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { ROOT, consumerOf, run, type PackedLibrary } from '../consumers/packed-library.js';
import { codeBlocks, pageText } from './markdown.js';

/** Generous limit for the start of a program. */
const IN_TIME = { timeoutMs: 60_000 };

/** A module with Nest's client, which handles errors as the README shows. */
const WITH_NEST = `
import { Controller, Get, Inject, Module, Param, Post } from '@nestjs/common';
import { ClientsModule, Transport } from '@nestjs/microservices';
import type { ClientGrpc } from '@nestjs/microservices';
import { catchError, map, of, type Observable } from 'rxjs';
import { explain } from './explain';

interface OrdersClient {
  get(request: { id: string }): Observable<{ id: string; item: string }>;
  create(request: { requestId: string; item: string }): Observable<{ id: string }>;
}

const options = { url: 'localhost:50051', package: 'orders.v1', protoPath: 'orders.proto' };

@Controller('orders')
class OrdersController {
  private orders!: OrdersClient;

  constructor(@Inject('orders') private readonly client: ClientGrpc) {}

  onModuleInit() {
    this.orders = this.client.getService<OrdersClient>('Orders');
  }

  @Get(':id') get(@Param('id') id: string) {
    return this.orders.get({ id });
  }

  @Post() create() {
    return this.orders.create({ requestId: 'r-1', item: 'tea' }).pipe(
      map(({ id }) => ({ text: 'placed as ' + id })),
      catchError((error: unknown) => of({ text: explain(error) })),
    );
  }
}

@Module({
  imports: [ClientsModule.register([{ name: 'orders', transport: Transport.GRPC, options }])],
  controllers: [OrdersController],
})
export class OrdersModule {}
`;

/** Responses of the application, and what it says about calls that failed. */
export interface Followed {
  readonly order: unknown;
  readonly refused: unknown;
  readonly unavailable: unknown;
  readonly away: unknown;
}

/**
 * Creates a CommonJS project with the schematics of Nest 12 and the packages of Nest 11, in which a module uses Nest's client. Applies the
 * README's diff to it, adds its error handling, its default deadline, and its shutdown hooks, and builds the project. Makes calls while the
 * gRPC server runs, and one after it has closed.
 */
export async function followReadme(packed: PackedLibrary): Promise<Followed> {
  const application = consumerOf(packed, { copied: [], nest: 11 });
  const tool = (path: string) => join(application.folder, 'node_modules', path);
  const template = ['--no-dry-run', '@nestjs/schematics:application', '--name', 'shop', '--type', 'cjs'];
  const project = join(application.folder, 'shop');
  run(process.execPath, [tool('@angular-devkit/schematics-cli/bin/schematics.js'), ...template], application.folder);
  cpSync(join(ROOT, 'protos/orders.proto'), join(project, 'orders.proto'));
  const server = await ScriptedGrpcServer.start({
    protoPath: join(project, 'orders.proto'),
    scripts: { Get: { message: { id: '7', item: 'tea' } } },
  });

  const blocks = codeBlocks('README.md');
  writeFileSync(join(project, 'src/explain.ts'), blocks.find(({ language }) => language === 'ts')!.text);
  const module = join(project, 'src/orders.module.ts');
  writeFileSync(module, WITH_NEST);
  for (const hunk of blocks.find(({ language }) => language === 'diff')!.text.split('\n\n')) {
    const marked = (mark: string) =>
      hunk
        .split('\n')
        .filter((line) => line.startsWith(mark))
        .map((line) => line.slice(1))
        .join('\n');
    edit(module, marked('-'), marked('+'));
  }
  edit(module, 'localhost:50051', server.url);
  const [forRoot = ''] = /ResilientGrpcModule\.forRoot\(.*?\)(?=`)/.exec(pageText('README.md'))!;
  edit(join(project, 'src/app.module.ts'), 'imports: []', `imports: [${forRoot}, OrdersModule]`);
  const imports =
    "import { ResilientGrpcModule } from 'nestjs-resilient-grpc';\nimport { OrdersModule } from './orders.module';";
  edit(join(project, 'src/app.module.ts'), '\n\n', `\n${imports}\n\n`);
  edit(join(project, 'src/main.ts'), '  await app.listen', '  app.enableShutdownHooks();\n  await app.listen');
  run(process.execPath, [tool('@nestjs/cli/bin/nest.js'), 'build'], project);

  const socketPath = join(project, 'http');
  const env = { ...process.env, PORT: socketPath, NO_COLOR: '1' };
  const main = spawn(process.execPath, ['dist/main.js'], { cwd: project, env, stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(main, 'close');
  const ask = async (method: string, path: string): Promise<unknown> => {
    const [response] = (await once(request({ socketPath, method, path }).end(), 'response')) as [IncomingMessage];
    return JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as unknown;
  };
  try {
    await waitFor(() => existsSync(socketPath), IN_TIME);
    const order = await ask('GET', '/orders/7');
    server.script('Create', { status: 'FAILED_PRECONDITION', details: 'out of tea' });
    const refused = await ask('POST', '/orders');
    server.script('Create', { status: 'UNAVAILABLE', details: 'busy' });
    const unavailable = await ask('POST', '/orders');
    await server.close();
    return { order, refused, unavailable, away: await ask('POST', '/orders') };
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
  if (from === '' || !text.includes(from)) throw new Error(`${path} does not contain ${JSON.stringify(from)}`);
  writeFileSync(path, text.replace(from, to));
}
