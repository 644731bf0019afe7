// npm run api: writes the exports of each entry of the built library to libs/resilient-grpc/api/, so that reviews show changes to the
// public API. With --check, it writes nothing and reports differences. The reports contain the types that the public API uses, exported
// or not.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CompilerState, Extractor, ExtractorConfig } from '@microsoft/api-extractor';

/** Folder of the reports. */
const REPORTS = fileURLToPath(new URL('../libs/resilient-grpc/api', import.meta.url));

/**
 * Reads the built declarations of the package in `folder`.
 *
 * @param {string} folder
 * @returns {Record<string, string>} The text of each report by its file name.
 */
function apiReports(folder) {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const entries = Object.entries(manifest.exports).filter(([, target]) => typeof target === 'object');
  const temporary = mkdtempSync(join(tmpdir(), 'api-'));
  try {
    const configs = entries.map(
      ([
        entry,
        {
          import: { types },
        },
      ]) => configOf(folder, join(folder, types), entry, temporary),
    );
    const [first, ...others] = configs;
    // One program for all entries, because reading their imports takes most of the time.
    const compilerState = CompilerState.create(first, {
      additionalEntryPoints: others.map((config) => config.mainEntryPointFilePath),
    });
    for (const config of configs) extract(config, compilerState);
    const texts = configs.map(({ reportFilePath }) => readFileSync(reportFilePath, 'utf8'));
    return Object.fromEntries(
      entries.map(([entry], index) => {
        const text = texts[index].replace(/^.*\n/, `## ${join(manifest.name, entry)}\n`);
        return [`${nameOf(entry)}.api.md`, withoutTypeOnlyValues(text, configs[index].mainEntryPointFilePath)];
      }),
    );
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

/**
 * Removes the keyword `export` from the values that an entry exports only as types, because users cannot import them.
 *
 * @param {string} report
 * @param {string} declarations path of the entry's declarations
 */
function withoutTypeOnlyValues(report, declarations) {
  const lists = [...readFileSync(declarations, 'utf8').matchAll(/^export (type )?\{([^}]*)\}/gm)];
  const types = lists.flatMap(([, type = '', names]) =>
    names.split(',').flatMap((name) => /^type (\w+)$/.exec(`${type}${name.trim()}`)?.[1] ?? []),
  );
  const values = new RegExp(`^export (?=(?:abstract class|class|const|function) (?:${types.join('|')})\\b)`, 'gm');
  return types.length === 0 ? report : report.replace(values, '');
}

/** @param {string} entry */
function nameOf(entry) {
  return entry === '.' ? 'main' : entry.slice(2);
}

/**
 * @param {string} folder
 * @param {string} types
 * @param {string} entry
 * @param {string} temporary
 */
function configOf(folder, types, entry, temporary) {
  const silent = { default: { logLevel: 'none' } };
  return ExtractorConfig.prepare({
    configObjectFullPath: undefined,
    packageJsonFullPath: join(folder, 'package.json'),
    configObject: {
      projectFolder: folder,
      mainEntryPointFilePath: types,
      newlineKind: 'lf',
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: 'ES2023',
            module: 'nodenext',
            lib: ['ES2023'],
            types: ['node'],
            strict: true,
            skipLibCheck: true,
          },
          files: [types],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: `${nameOf(entry)}.api.md`,
        reportFolder: temporary,
        reportTempFolder: join(temporary, 'temp'),
        includeForgottenExports: true,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: 'error' } },
        extractorMessageReporting: silent,
        tsdocMessageReporting: silent,
      },
    },
  });
}

/**
 * @param {ExtractorConfig} config
 * @param {CompilerState} compilerState
 */
function extract(config, compilerState) {
  const problems = [];
  Extractor.invoke(config, {
    compilerState,
    localBuild: true,
    messageCallback: (message) => {
      message.handled = true;
      if (message.logLevel === 'error') problems.push(message.formatMessageWithLocation(config.projectFolder));
    },
  });
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const reports = apiReports(join(REPORTS, '..'));
  const problems = [];
  if (process.argv.includes('--check')) {
    const kept = Object.fromEntries(
      readdirSync(REPORTS).map((name) => [name, readFileSync(join(REPORTS, name), 'utf8')]),
    );
    const changed = Object.keys({ ...kept, ...reports }).filter((name) => kept[name] !== reports[name]);
    problems.push(
      ...changed.map(
        (name) => `${name}: the public API changed; run \`npm run api\`, review the result, and commit it`,
      ),
    );
  } else {
    rmSync(REPORTS, { recursive: true, force: true });
    mkdirSync(REPORTS);
    for (const [name, text] of Object.entries(reports)) writeFileSync(join(REPORTS, name), text);
  }
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
