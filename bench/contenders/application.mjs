import 'reflect-metadata';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** A logger that writes to standard error, because Nest's own logger writes to standard output, which contains the report. */
const toStandardError = {
  log() {
    // Omits startup messages.
  },
  /** @param {unknown} message */
  warn(message) {
    console.error(message);
  },
  /** @param {unknown} message */
  error(message) {
    console.error(message);
  },
};

/**
 * Creates a Nest application with these modules, for Nest's client and for this library.
 *
 * @param {readonly import('@nestjs/common').DynamicModule[]} imports
 * @returns {Promise<import('@nestjs/common').INestApplicationContext>}
 */
export async function openApplication(imports) {
  const BenchModule = class {};
  Module({ imports: [...imports] })(BenchModule);
  const app = await NestFactory.createApplicationContext(BenchModule, { logger: toStandardError });
  app.enableShutdownHooks();
  return app;
}
