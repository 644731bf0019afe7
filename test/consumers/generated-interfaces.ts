import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run } from './packed-library.js';

/** Options of ts-proto that change the generated interface, in addition to the options that all modes share. */
const MODES = {
  plain: [],
  metadata: ['addGrpcMetadata=true', 'addNestjsRestParameter=true'],
  observables: ['returnObservable=true'],
  snake: ['snakeToCamel=false'],
  strings: ['stringEnums=true', 'forceLong=string'],
  longs: ['forceLong=long'],
  dates: ['useDate=true'],
};
const FOLDER = 'test/consumers/ts-proto';

/** Copies the program of `ts-proto/` to `apps`, a folder of `application`, and generates its interfaces there in each mode. */
export function writeInterfaces(application: string, apps: string): void {
  cpSync(join(ROOT, FOLDER, 'catalog.proto'), join(application, 'protos/catalog.proto'));
  cpSync(join(ROOT, FOLDER, 'main.ts'), join(application, apps, 'ts-proto.ts'));
  const plugins = Object.entries(MODES).map(([mode, options]) => ({
    local: join(ROOT, 'node_modules/.bin/protoc-gen-ts_proto'),
    out: join(application, apps, mode),
    opt: ['nestJs=true', 'fileSuffix=.pb', 'importSuffix=.js', ...options],
  }));
  const template = JSON.stringify({ version: 'v2', plugins });
  run(join(ROOT, 'node_modules/.bin/buf'), ['generate', join(ROOT, FOLDER), '--template', template], ROOT);
}
