import { NestFactory } from '@nestjs/core';
import { expect, it } from 'vitest';
import { ResilientGrpcDashboardModule } from './resilient-grpc-dashboard.module.js';

it('makes startup fail with an error that names a remedy if the dashboard module is imported without options', async () => {
  const start = NestFactory.createApplicationContext(ResilientGrpcDashboardModule, {
    logger: false,
    abortOnError: false,
  });
  await expect(start).rejects.toThrow(
    'imports: ResilientGrpcDashboardModule: expected options, got none; ' +
      'write ResilientGrpcDashboardModule.forRoot({ guards: [OpsGuard] }), or forRoot({ public: true })',
  );
});
