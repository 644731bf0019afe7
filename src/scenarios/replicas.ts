import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcClients, ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { ReplicasRun } from '../load/replicas-run.js';
import { callFigures } from '../report/call-figures.js';
import { replicasReport } from '../report/replicas-figures.js';
import { outcomeOf, type Scenario } from './scenario.js';

@Module({ imports: [ResilientGrpcModule.forRoot({})] })
class ClientsModule {}

/**
 * The first of three replicas fails for a time, then the second is slow, then the third is frozen. At the end, the first is replaced. All
 * contenders use round robin.
 */
export const replicas: Scenario = {
  minSeconds: 16,
  defaultSeconds: 32,
  async run(run) {
    const app = await NestFactory.createApplicationContext(ClientsModule, { logger: run.logger });
    try {
      const replicasRun = await ReplicasRun.start({ ...run, clients: app.get(GrpcClients) });
      try {
        await replicasRun.perform();
        return outcomeOf(replicasRun.results(), {
          figures: callFigures(['failed', 'triedAgain', 'p50', 'p99', 'longestWait', 'ejections']),
          tunedTitle: '+ retryPolicy, outlier_detection',
          report: replicasReport,
        });
      } finally {
        await replicasRun.close();
      }
    } finally {
      await app.close();
    }
  },
};
