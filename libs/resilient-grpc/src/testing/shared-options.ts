import { createSecureContext, type SecureContextOptions } from 'node:tls';
import * as v from 'valibot';
import { integer, isObject, object } from '../policy/options/option-schemas.js';
import { isError } from '../errors/error-message.js';

// Option schemas that several parts of the test kit share.

export const port = integer(0, 65_535);

export const clock = v.custom((value) => isObject(value) && 'now' in value, 'a VirtualClock; write new VirtualClock()');

const COUNT = 'an integer of 1 or more, or Infinity';
export const countOrInfinity = v.pipe(
  v.number(COUNT),
  v.check((value) => value === Infinity || (Number.isInteger(value) && value >= 1), COUNT),
);

const pem = v.custom<string | Buffer>(
  (value) => typeof value === 'string' || Buffer.isBuffer(value),
  'PEM text or a Buffer; write the contents of the file, as readFileSync() returns them',
);

/** Key and certificate of a server, and the certificate authority of its clients. */
export const serverTls = v.pipe(
  object({ key: pem, cert: pem, ca: v.optional(pem) }, 'an object such as { key, cert }, in PEM format'),
  validPem(),
);

/** TLS options of a client: certificate authority of the server, key and certificate of the client, and expected server name. */
export const clientTls = v.pipe(
  object(
    {
      ca: v.optional(pem),
      key: v.optional(pem),
      cert: v.optional(pem),
      serverName: v.optional(v.string("a name such as 'orders.example.com'")),
    },
    'an object such as { ca }, in PEM format',
  ),
  validPem(),
);

/** Checks the contents of key, cert, and ca, so that startup fails instead of the first connection. */
function validPem<T extends SecureContextOptions>(): v.RawCheckAction<T> {
  return v.rawCheck(({ dataset, addIssue }) => {
    const error = dataset.typed ? pemError(dataset.value) : undefined;
    if (error !== undefined) {
      const remedy = 'write the contents of the files, as readFileSync() returns them';
      addIssue({
        message: `expected key, cert, and ca in PEM format, but TLS rejected them (${error.message}); ${remedy}`,
      });
    }
  });
}

/** Returns the error with which TLS rejects the key, certificate, or certificate authority; `undefined` if all are valid. */
function pemError({ key, cert, ca }: SecureContextOptions): Error | undefined {
  try {
    createSecureContext({ ...(key && { key }), ...(cert && { cert }), ...(ca && { ca }) });
    return undefined;
  } catch (error) {
    return isError(error) ? error : new Error(String(error));
  }
}
