// Loads grpc-js with some of its private names renamed, as in a possible future release:
//   sabotage(['onCallStart'], { version: '1.15.0', folder: '/path/to/another/grpc-js' })
// Call `sabotage()` before anything loads grpc-js.
import { createRequire } from 'node:module';
import Module, { register } from 'node:module';
import { readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(import.meta.url);
const PACKAGE = '@grpc/grpc-js';
const INSIDE = `${sep}@grpc${sep}grpc-js${sep}`;

/**
 * @param {readonly string[]} names private names to rename: 'http2Stream' in all files, 'server-interceptors.js:stream' in one file,
 *   'a.js:subchannel.createCall' on one object of a file
 * @param {{ version?: string, folder?: string }} grpcJs the version that its package.json reports; the folder of another copy to load
 */
export function sabotage(names, { version, folder } = {}) {
  if (folder !== undefined) redirect(folder);
  const renamed = names.map(renaming);
  const load = Module._extensions['.js'];
  Module._extensions['.js'] = (module, filename) => {
    if (!filename.includes(INSIDE) || !filename.endsWith('.js')) return load(module, filename);
    const source = readFileSync(filename, 'utf8');
    return module._compile(
      renamed.reduce((text, rename) => rename(text, filename), source),
      filename,
    );
  };
  if (version !== undefined) {
    const json = Module._extensions['.json'];
    Module._extensions['.json'] = (module, filename) => {
      json(module, filename);
      if (filename.endsWith(`${INSIDE}package.json`)) module.exports = { ...module.exports, version };
    };
  }
  // From now on, ES modules also load this copy.
  require(PACKAGE);
}

function renaming(name) {
  const [, file, owner, only] = /^(?:([\w-]+\.js):)?(?:(\w+)\.)?(\w+)$/.exec(name);
  const before = owner === undefined ? '(?<![\\w$/])' : `(?<=\\b${owner}\\.)`;
  const pattern = new RegExp(`${before}${only}(?![\\w$])`, 'g');
  return (source, filename) => {
    if (file !== undefined && !filename.endsWith(sep + file)) return source;
    return source.replace(pattern, `${only}OfAnotherRelease`);
  };
}

/** Makes both module loaders use the copy in `folder`. */
function redirect(folder) {
  const resolve = Module._resolveFilename;
  Module._resolveFilename = (request, ...rest) =>
    resolve(
      request === PACKAGE || request.startsWith(`${PACKAGE}/`) ? join(folder, request.slice(PACKAGE.length)) : request,
      ...rest,
    );
  const hooks = `export const resolve = (specifier, context, next) =>
    next(specifier === '${PACKAGE}' ? ${JSON.stringify(pathToFileURL(require.resolve(PACKAGE)).href)} : specifier, context);`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}
