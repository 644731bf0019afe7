import * as imported from '@grpc/grpc-js';

/**
 * Returns the exports of grpc-js after agents have patched them. Agents patch a package when it is first required, and an `import` is not a
 * `require()`. The exports are patched in place, except that `import` has copied the functions that create clients.
 */
export function requiredGrpcJs(): typeof imported {
  try {
    // Not imported, because webpack and rspack replace an import of this function.
    const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
    // Requires only the copy that was imported. A bundle contains a copy of its own, and must not load another one.
    if (require.cache[require.resolve('@grpc/grpc-js')] !== undefined) {
      const required = require('@grpc/grpc-js') as typeof imported;
      if (required.Client === imported.Client) return required;
    }
  } catch {
    // In a bundle, there may be no grpc-js to resolve, and no `import.meta.url`.
  }
  return imported;
}
