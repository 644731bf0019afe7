import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, Inject, Module, Param, type INestApplication, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  GrpcMethod,
  GrpcStreamMethod,
  Transport,
  type ClientGrpc,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { ReplaySubject, Subject, toArray, type Observable } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HERO_PROTO } from './places.js';

// An application modeled on Nest's own gRPC sample: one process serves heroes and calls itself over gRPC. Only the import and the
// module line differ from the version with ClientsModule.

interface HeroById {
  id: number;
}
interface Hero {
  id: number;
  name: string;
}
interface HeroClient {
  findOne(request: HeroById): Observable<Hero>;
  findMany(requests: Observable<HeroById>): Observable<Hero>;
}

const folder = mkdtempSync(join(tmpdir(), 'hero-'));
const url = `unix:${join(folder, 'hero.sock')}`;
const heroes: readonly Hero[] = [
  { id: 1, name: 'Ada' },
  { id: 2, name: 'Grace' },
];

@Controller('hero')
class HeroController implements OnModuleInit {
  private service!: HeroClient;

  constructor(@Inject('HERO_PACKAGE') private readonly client: ClientGrpc) {}

  onModuleInit() {
    this.service = this.client.getService<HeroClient>('HeroService');
  }

  @Get()
  all(): Observable<Hero[]> {
    const ids = new ReplaySubject<HeroById>();
    ids.next({ id: 1 });
    ids.next({ id: 2 });
    ids.complete();
    return this.service.findMany(ids.asObservable()).pipe(toArray());
  }

  @Get(':id')
  one(@Param('id') id: string): Observable<Hero> {
    return this.service.findOne({ id: Number(id) });
  }

  @GrpcMethod('HeroService')
  findOne({ id }: HeroById): Hero | undefined {
    return heroes.find((hero) => hero.id === id);
  }

  @GrpcStreamMethod('HeroService')
  findMany(requests: Observable<HeroById>): Observable<Hero> {
    const found = new Subject<Hero>();
    requests.subscribe({
      next: ({ id }) => {
        const hero = heroes.find((one) => one.id === id);
        if (hero) found.next(hero);
      },
      complete: () => {
        found.complete();
      },
    });
    return found.asObservable();
  }
}

@Module({
  imports: [ResilientGrpcModule.forFeature([{ name: 'HERO_PACKAGE', url, package: 'hero', protoPath: HERO_PROTO }])],
  controllers: [HeroController],
})
class HeroModule {}

describe("Nest's gRPC sample, migrated by changing an import and a module line", () => {
  const leaks = captureLeaks();
  let app: INestApplication;
  let http: string;

  beforeAll(async () => {
    app = await NestFactory.create(HeroModule, { logger: false, forceCloseConnections: true });
    app.connectMicroservice<MicroserviceOptions>({
      transport: Transport.GRPC,
      options: { url, package: 'hero', protoPath: HERO_PROTO },
    });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    http = await app.getUrl();
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('responds to a unary call of the hero sample', async () => {
    expect(await (await fetch(`${http}/hero/2`)).json()).toEqual({ id: 2, name: 'Grace' });
  });

  it('responds to a request stream of the hero sample with a response stream', async () => {
    expect(await (await fetch(`${http}/hero`)).json()).toEqual(heroes);
  });

  it('releases all resources on app.close() and allows a second close()', async () => {
    await app.close();
    await app.close();
    await leaks.settled();
  });
});
