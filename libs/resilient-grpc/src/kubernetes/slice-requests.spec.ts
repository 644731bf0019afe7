import { describe, expect, it } from 'vitest';
import { permissionRemedy } from './slice-requests.js';

describe('permissionRemedy', () => {
  it.each([
    ['system:serviceaccount:shop:gateway', '--serviceaccount=shop:gateway'],
    ['jane', "--user='jane'"],
    ["o'hara", String.raw`--user='o'\''hara'`],
  ])('binds the role for EndpointSlice watches to the user %s', (user, subject) => {
    const message = `endpointslices.discovery.k8s.io is forbidden: User "${user}" cannot list resource`;
    expect(permissionRemedy(message, 'shop')).toBe(
      'grant the permission: kubectl create role grpc-endpoints -n shop --verb=list,watch --resource=endpointslices.discovery.k8s.io ' +
        `&& kubectl create rolebinding grpc-endpoints -n shop --role=grpc-endpoints ${subject}`,
    );
  });
});
