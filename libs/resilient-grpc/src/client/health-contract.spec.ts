import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import { expect, it } from 'vitest';
import { healthContract, HEALTH_SERVICE } from './health-contract.js';

/** Returns the descriptors of the file that defines `HealthCheckRequest`. */
const fileOf = (definition: PackageDefinition) =>
  (definition['grpc.health.v1.HealthCheckRequest'] as { fileDescriptorProtos: Buffer[] }).fileDescriptorProtos;

it('defines the health service like the standard health.proto, byte for byte', () => {
  const standard = loadSync(protoPath, { keepCase: true });
  expect(Object.keys(healthContract()).sort()).toEqual(Object.keys(standard).sort());
  expect(fileOf(healthContract())).toEqual(fileOf(standard));
  expect(Object.keys(healthContract()[HEALTH_SERVICE]!)).toEqual(Object.keys(standard[HEALTH_SERVICE]!));
});
