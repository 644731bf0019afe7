import { readBoundedFile } from '../channel/read-bounded-file.js';
import { errorCode } from '../channel/tls/tls-material.js';
import { loadContract } from '../client/settings/contract.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import type { Reflected } from './checks/reflection-check.js';
import type { KnownMethods } from './checks/service-config-check.js';

/**
 * Returns the methods to compare a service config with, from a .proto file or else from server reflection. Returns problems if the file is
 * invalid, and `undefined` if there is neither.
 */
export function knownMethods(
  protoFile: string | undefined,
  reflected: Reflected | undefined,
): KnownMethods | readonly ConfigurationProblem[] | undefined {
  if (protoFile !== undefined) {
    try {
      // Checks the file size first, because the .proto parser reads without a limit.
      readBoundedFile(protoFile);
    } catch (error) {
      return [
        {
          path: '--proto',
          message: `cannot be read (${errorCode(error)}); check the path, which is relative to the working directory`,
        },
      ];
    }
    const contract = loadContract({ protoPath: protoFile }, '--proto');
    if (!contract.ok) return contract.problems.map(({ message }) => ({ path: '--proto', message }));
    return { from: protoFile, services: [...contract.services.keys()], methods: contract.services };
  }
  if (reflected?.services === undefined) return undefined;
  return { from: 'reflection', services: reflected.services, methods: reflected.methods };
}
