import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Deployment } from 'kubernetes-types/apps/v1.d.ts';
import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { PodDisruptionBudget } from 'kubernetes-types/policy/v1.d.ts';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';
import { ROOT } from '../../docs/markdown.js';

/** Names of the manifests of docs/deploy/kubernetes.md. */
export const MANIFESTS = ['orders', 'gateway'] as const;

/** The resources of one application. */
export interface Manifest {
  readonly text: string;
  readonly Service: Service;
  readonly Deployment: Deployment;
  readonly PodDisruptionBudget: PodDisruptionBudget;
}

export function readManifest(name: (typeof MANIFESTS)[number]): Manifest {
  const text = readFileSync(join(ROOT, 'docs/deploy/kubernetes', `${name}.yaml`), 'utf8');
  const documents = parseAllDocuments(text).map((document) => document.toJS({ mapAsMap: false }) as { kind: string });
  // The cast is safe if `structuralProblems` finds no problems.
  return Object.assign({ text }, ...documents.map((document) => ({ [document.kind]: document }))) as Manifest;
}

/** Unknown fields, missing fields, and wrong types, as compiler messages. */
export function structuralProblems(manifests: readonly Manifest[]): readonly string[] {
  const kinds = { Deployment: 'apps', Service: 'core', PodDisruptionBudget: 'policy' } as const;
  const file = join(ROOT, 'test/guides/kubernetes/typed-manifests.ts');
  const source = Object.entries(kinds)
    .flatMap(([kind, group]) => [
      `import type { ${kind} } from 'kubernetes-types/${group}/v1.d.ts';`,
      ...manifests.map((one) => `({ ...${JSON.stringify(one[kind as keyof typeof kinds])} }) satisfies ${kind};`),
    ])
    .join('\n');
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    lib: ['lib.es5.d.ts'],
    strict: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2023) : read(name, ...rest);
  const program = ts.createProgram([file], options, host);
  // Checks only the generated file, not its imports.
  const problems = program.getSemanticDiagnostics(program.getSourceFile(file));
  return problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
}
