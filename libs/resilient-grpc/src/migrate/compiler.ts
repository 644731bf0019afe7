import { ts, type Project } from 'ts-morph';

/** Compiles changed files without writing them. */
export class Compiler {
  /** The original text of each file that was compiled. */
  private readonly originals = new Map<string, string>();

  constructor(private readonly project: Project) {}

  /**
   * Returns the first compiler error that the changed files cause in themselves or in `users`; `undefined` if they cause none. Errors that
   * existed before the change are ignored.
   */
  newProblem(changed: ReadonlyMap<string, string>, users: readonly string[]): string | undefined {
    const paths = [...new Set([...changed.keys(), ...users])];
    const before = this.problems(new Map(), paths);
    for (const problem of this.problems(changed, paths)) {
      const index = before.indexOf(problem);
      if (index < 0) return problem.split('\n')[0];
      before.splice(index, 1);
    }
    return undefined;
  }

  private problems(changed: ReadonlyMap<string, string>, paths: readonly string[]): string[] {
    for (const path of paths) {
      if (!this.originals.has(path)) this.originals.set(path, this.project.addSourceFileAtPath(path).getFullText());
    }
    for (const [path, original] of this.originals) {
      const file = this.project.getSourceFileOrThrow(path);
      const text = changed.get(path) ?? original;
      if (file.getFullText() !== text) file.replaceWithText(text);
    }
    const program = this.project.getProgram().compilerObject;
    return paths.flatMap((path) => {
      const file = program.getSourceFile(path);
      const found = [
        ...program.getSyntacticDiagnostics(file),
        ...program.getSemanticDiagnostics(file),
        ...(program.getCompilerOptions().declaration === true ? program.getDeclarationDiagnostics(file) : []),
      ];
      return found
        .filter(({ category }) => category === ts.DiagnosticCategory.Error)
        .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    });
  }
}
