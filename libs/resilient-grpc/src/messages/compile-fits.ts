import { isPlainObject } from '../policy/options/describe-value.js';
import type { FieldValues, MessageType } from './message-type.js';
import { JSON_TYPES } from './well-known-types.js';

/** Maximum depth of nested messages, as in protobufjs, which rejects deeper ones. */
export const MAX_DEPTH = 100;

type Fits = NonNullable<MessageType['fits']>;

/** Sets `type.fits`. It is compiled on first use, because types can contain themselves. */
export function prepareFits(type: MessageType): void {
  type.fits ??= (message, depth) => {
    type.fits = () => false;
    try {
      type.fits = compileFits(type);
    } catch {
      // The process does not allow generated code (--disallow-code-generation-from-strings), or the descriptor is invalid.
    }
    return type.fits(message, depth);
  };
}

/**
 * Compiles the test whether a message of `type` can be serialized as it is. It runs for every message, so it is generated as code, like
 * protobufjs's serializers: reading the fields by variable names would cost five times as much. True only if a field has a value, because
 * an object without one may be something else, such as a Promise.
 */
function compileFits(type: MessageType): Fits {
  if (type.fields.size === 0) return () => true;
  // Objects of these types may be JSON data.
  if (JSON_TYPES.has(type.fullName)) return () => false;
  /** The objects that the code refers to. */
  const refs: unknown[] = [isPlainObject];
  const tests = [...type.fields].map(([name, field]) => {
    const test = testOf(field, refs);
    const tested = {
      single: `e=v;if(!(${test}))return false`,
      list: `if(!Array.isArray(v))return false;for(i=0;i<v.length;i++){e=v[i];if(!(${test}))return false}`,
      map: `if(!r[0](v))return false;for(i in v){e=v[i];if(!i.isWellFormed()||!(${test}))return false}`,
    }[field.holds];
    // Keys that are not text are examined one by one.
    const isFit = field.holds === 'map' && field.keys.kind !== 'string' ? 'return false' : tested;
    // Of several fields of a oneof, only one arrives.
    const oneof =
      field.oneof === undefined ? '' : `if(o${String(field.oneof)})return false;o${String(field.oneof)}=true;`;
    return `if((v=m[${JSON.stringify(name)}])!=null){${oneof}${isFit};some=true}`;
  });
  const oneofs = type.oneofs.map((_, index) => `,o${String(index)}`).join('');
  const code = `return function(m,d){let v,e,i,some=false${oneofs};if(typeof m!=="object"||m===null)return false;if(d>${String(MAX_DEPTH)})return false;${tests.join('')}return some}`;
  // Safe: the code contains only names from the descriptor, as JSON. The cast states what the code returns.
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  return (new Function('r', code) as (refs: unknown[]) => Fits)(refs);
}

/** Returns the code of a test of the value `e`. */
function testOf(field: FieldValues, refs: unknown[]): string {
  switch (field.kind) {
    case 'string':
      return 'typeof e==="string"&&e.isWellFormed()';
    case 'integer':
      return `typeof e==="number"&&(e${field.unsigned ? '>>>' : '|'}0)===e`;
    case 'long': {
      const range = field.unsigned
        ? 'e>=0&&e<=18446744073709551616'
        : 'e>=-9223372036854775808&&e<=9223372036854775808';
      // The text of most integers, and Long.
      const others = `typeof e==="string"?/^\\d{1,18}$/.test(e):typeof e==="object"&&e!==null&&e.unsigned===${String(field.unsigned)}`;
      return `typeof e==="number"?Math.trunc(e)===e&&${range}:${others}`;
    }
    case 'float':
      return 'typeof e==="number"&&(isFinite(Math.fround(e))||!isFinite(e))';
    case 'double':
      return 'typeof e==="number"';
    case 'boolean':
      return 'typeof e==="boolean"';
    case 'bytes':
      return 'typeof e==="object"&&e!==null&&e.BYTES_PER_ELEMENT===1';
    case 'enum':
      return `typeof e==="number"?(e|0)===e:${refer(field.values, refs)}.has(e)`;
    case 'message':
      prepareFits(field.type);
      return `${refer(field.type, refs)}.fits(e,d+1)`;
    case 'other':
      return 'true';
  }
}

function refer(object: object, refs: unknown[]): string {
  return `r[${String(refs.push(object) - 1)}]`;
}
