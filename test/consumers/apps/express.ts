import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { GatewayModule, visit } from './gateway.js';

void NestFactory.create(GatewayModule, { logger: ['error', 'fatal'] }).then(visit);
