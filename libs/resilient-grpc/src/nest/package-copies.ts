import type { INestApplicationContext, Type } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';

/** Key of a property that the core module of every copy of the package has. */
export const CORE_MODULE = Symbol.for('nestjs-resilient-grpc.coreModule');

/** Remedy if an application contains several copies of the package. */
export const COPIES_REMEDY =
  'run npm ls nestjs-resilient-grpc, and move the package to peerDependencies in each library that has its own copy; ' +
  'with pnpm, run pnpm why -r nestjs-resilient-grpc, and install the same optional peer dependencies in each package of the monorepo ' +
  '(if only one is installed, the copies are its ES module and CommonJS builds; load only one of them)';

/** Returns the core modules of an application: one for each copy of the package that its modules import. */
export function coreModules(modules: ModulesContainer): readonly Type[] {
  return [...modules.values()].map(({ metatype }) => metatype).filter((type) => CORE_MODULE in type);
}

/** Returns the number of copies of the package that the modules of a started or compiled application import. */
export function copiesIn(context: INestApplicationContext): number {
  return coreModules(context.get(ModulesContainer, { strict: false })).length;
}
