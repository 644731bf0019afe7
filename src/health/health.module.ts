import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { ResilientGrpcHealthModule } from 'nestjs-resilient-grpc/health';
import { HealthController } from './health.controller.js';

/** Health routes of the gateway. */
@Module({ imports: [TerminusModule, ResilientGrpcHealthModule], controllers: [HealthController] })
export class HealthModule {}
