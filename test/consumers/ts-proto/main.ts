/** Calls a real server through the interfaces that ts-proto generates in each mode of `generated-interfaces.ts`. */
import 'reflect-metadata';
import { Metadata } from '@grpc/grpc-js';
import { NestFactory } from '@nestjs/core';
import {
  ResilientGrpcModule,
  getGrpcServiceToken,
  type GrpcClientOptions,
  type GrpcObservable,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, of, toArray, type Observable } from 'rxjs';
import type * as dates from './dates/catalog.pb.js';
import type * as longs from './longs/catalog.pb.js';
import type * as metadata from './metadata/catalog.pb.js';
import type * as observables from './observables/catalog.pb.js';
import * as plain from './plain/catalog.pb.js';
import type * as snake from './snake/catalog.pb.js';
import * as strings from './strings/catalog.pb.js';

const protoPath = 'protos/catalog.proto';
const LISTED_AT = { seconds: 1_700_000_000, nanos: 0 };
const WAIT = { timeoutMs: 60_000 };

/** Returns the result of `call` with a client that uses `loader`. */
async function resultOf<Client>(
  loader: GrpcClientOptions['loader'],
  call: (client: Resilient<Client>) => Promise<unknown>,
  listedAt: unknown = LISTED_AT,
): Promise<unknown> {
  const item = { item_kind: 1, stock_left: '7', listed_at: listedAt };
  const server = await ScriptedGrpcServer.start({
    protoPath,
    loader: { keepCase: true, longs: String },
    scripts: {
      FindItem: ({ request }) => ({ message: { ...item, ...(request as { item_id: string }) } }),
      ListItems: { messages: [{ item_id: '1' }, { item_id: '2' }] },
      AddItems: { message: { items_added: 2 } },
    },
  });
  const feature = ResilientGrpcModule.forFeature([{ name: 'catalog', url: server.url, protoPath, loader }]);
  const app = await NestFactory.createApplicationContext(feature, { logger: ['error', 'fatal'] });
  const answer = await call(app.get(getGrpcServiceToken('catalog', plain.CATALOG_SERVICE_NAME)));
  await app.close();
  await server.close();
  return answer;
}

const collect = async <T>(messages: Observable<T>): Promise<T[]> => lastValueFrom(messages.pipe(toArray()));

async function main(): Promise<void> {
  const printed: Record<string, unknown> = {};

  printed['plain'] = await resultOf<plain.CatalogClient>({ longs: Number }, async (catalog) => {
    const generated: plain.CatalogClient = catalog;
    const item: plain.CatalogItem = await firstValueFrom(catalog.findItem({ itemId: '7' }, WAIT));
    const [listed, { itemsAdded }] = [
      await collect(generated.listItems({ itemId: '' })),
      // A request stream can also be an iterable.
      await firstValueFrom(catalog.addItems([item, item])),
    ];
    return { ...item, isDrink: item.itemKind === plain.ItemKind.ITEM_KIND_DRINK, listed: listed.length, itemsAdded };
  });

  printed['metadata'] = await resultOf<metadata.CatalogClient>({ longs: Number }, async (catalog) => {
    const generated: metadata.CatalogClient = catalog;
    const [withOptions, asGenerated] = [
      await firstValueFrom(catalog.findItem({ itemId: '7' }, new Metadata(), WAIT)),
      await firstValueFrom(generated.findItem({ itemId: '8' }, new Metadata(), { deadline: Date.now() + 60_000 })),
    ];
    // The metadata is optional although the generated interface requires it.
    const { itemId } = await firstValueFrom(catalog.findItem({ itemId: '9' }));
    return [withOptions.itemId, asGenerated.itemId, itemId];
  });

  printed['observables'] = await resultOf<observables.CatalogClient>({ longs: Number }, async (catalog) => {
    const items: GrpcObservable<observables.CatalogItem> = catalog.listItems({ itemId: '' });
    const ids: string[] = [];
    for await (const { itemId } of items) ids.push(itemId);
    return ids;
  });

  printed['snake'] = await resultOf<snake.CatalogClient>({ longs: Number, keepCase: true }, async (catalog) => {
    // @ts-expect-error the fields are named as in the .proto file
    catalog.findItem({ itemId: '7' });
    return firstValueFrom(catalog.findItem({ item_id: '7' }));
  });

  printed['strings'] = await resultOf<strings.CatalogClient>({ longs: String, enums: String }, async (catalog) => {
    const { stockLeft, itemKind } = await firstValueFrom(catalog.findItem({ itemId: '7' }));
    return { stockLeft, isDrink: itemKind === strings.ItemKind.ITEM_KIND_DRINK };
  });

  printed['longs'] = await resultOf<longs.CatalogClient>({}, async (catalog) => {
    const { stockLeft } = await firstValueFrom(catalog.findItem({ itemId: '7' }));
    return stockLeft.add(1).toString();
  });

  // Runs last because this generated module changes how the whole process reads and writes Timestamps.
  await import('./dates/catalog.pb.js');
  const listedAt = new Date(LISTED_AT.seconds * 1_000);
  printed['dates'] = await resultOf<dates.CatalogClient>(
    { longs: Number },
    async (catalog) => {
      const item = await firstValueFrom(catalog.findItem({ itemId: '7' }));
      const { itemsAdded } = await firstValueFrom(catalog.addItems(of(item, item)));
      return { listedAt: item.listedAt?.toISOString(), itemsAdded };
    },
    listedAt,
  );

  console.log(JSON.stringify(printed));
}

void main();
