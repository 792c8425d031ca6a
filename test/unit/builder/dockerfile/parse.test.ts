import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Instruction } from '../../../../builder/dockerfile/ast.ts';
import { parseDockerfile } from '../../../../builder/dockerfile/parse.ts';
import { WindlassError } from '../../../../lib/errors.ts';
import { parse } from '../build-stages.ts';

function instructions(text: string): readonly Instruction[] {
  return parse(`FROM a\n${text}`).stages[0]?.instructions ?? [];
}

/** Only instruction of `text`, which is line 2 of its file. */
function only<K extends Instruction['kind']>(kind: K, text: string): Extract<Instruction, { kind: K }> {
  const [instruction, ...others] = instructions(text);
  assert.deepEqual([instruction?.kind, others.length], [kind, 0]);
  return instruction as Extract<Instruction, { kind: K }>;
}

function failureOf(text: string | Buffer): string {
  try {
    parseDockerfile(Buffer.from(text as string), 'Dockerfile');
  } catch (error) {
    assert.ok(error instanceof WindlassError, String(error));
    assert.equal(error.reason, 'Invalid');
    const { file, line, column } = error.details['position'] as { file: string; line: number; column: number };
    assert.ok(error.message.startsWith(`${file}:${line}:${column}: `), error.message);
    return error.message.replace(/^Dockerfile:/, '');
  }
  return '';
}

/** Message of each text, each after a FROM line. */
function checkFailures(cases: Readonly<Record<string, string>>): void {
  const found = Object.keys(cases).map((text) => [text, failureOf(`FROM a\n${text}`)]);
  assert.deepEqual(Object.fromEntries(found), cases);
}

test('parseDockerfile() sorts global ARGs, stages and their instructions', () => {
  const file = parse('ARG V=1\narg W\nFROM --platform=linux/arm64 a:$V AS Build\nRUN x\nFROM build\nfrom scratch\n');
  assert.deepEqual(
    file.globalArgs.map(({ args }) => args),
    [[{ name: 'V', value: '1' }], [{ name: 'W' }]],
  );
  assert.deepEqual(
    file.stages.map(({ index, from, instructions: own }) => [index, from.base, from.name, from.platform, own.length]),
    [
      [0, 'a:$V', 'build', 'linux/arm64', 1],
      [1, 'build', undefined, undefined, 0],
      [2, 'scratch', undefined, undefined, 0],
    ],
  );
  assert.deepEqual(file.stages[0]?.from.position, { line: 3, column: 1 });
});

test('parseDockerfile() joins continued lines, without the comments and empty lines between them', () => {
  const text = '  RUN a \\\n# comment \\\n    && b \\  \n\n  # another\n\tc\\\\\nUSER u';
  const [run, user] = instructions(text);
  assert.deepEqual(
    { text: run?.text, position: run?.position, endLine: run?.endLine },
    { text: 'RUN a     && b \tc\\\\', position: { line: 2, column: 3 }, endLine: 7 },
  );
  assert.deepEqual([user?.kind, user?.position.line], ['USER', 8]);
  const { warnings } = parse(`FROM a\n${text}`);
  assert.deepEqual(
    warnings.map(({ rule, position }) => [rule, position.line, position.column]),
    [['NoEmptyContinuation', 5, 1]],
  );
});

test('parseDockerfile() takes lines that begin inside a word or with the escape alone', () => {
  assert.deepEqual(only('RUN', 'RU\\\nN echo \\\n\\\n  x').command, { form: 'shell', line: 'echo   x' });
  assert.equal(parse('\\\nFROM a').stages[0]?.from.base, 'a');
});

test('parseDockerfile() takes carriage returns, a byte order mark and a file without a last line end', () => {
  const source = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from('FROM a\r\nRUN x \\\r\n  y\r\nUSER u')]);
  const [stage] = parseDockerfile(source, 'Dockerfile').stages;
  assert.deepEqual(
    stage?.instructions.map(({ text }) => text),
    ['RUN x   y', 'USER u'],
  );
});

test('parseDockerfile() takes keywords in any case', () => {
  assert.deepEqual(
    instructions('Run x\nworkDIR /a').map(({ kind, keyword }) => [kind, keyword]),
    [
      ['RUN', 'Run'],
      ['WORKDIR', 'workDIR'],
    ],
  );
});

test('directives: escape changes escapes and continuations, and counts only at the top', () => {
  const file = parse('# escape=`\n# syntax=docker/dockerfile:1\nFROM a\nRUN dir `\n C:\\\\\nENV A=b` c\n');
  assert.deepEqual(
    { escape: file.escape, syntax: file.syntax, texts: file.stages[0]?.instructions.map(({ text }) => text) },
    { escape: '`', syntax: 'docker/dockerfile:1', texts: ['RUN dir  C:\\\\', 'ENV A=b` c'] },
  );
  for (const top of ['# comment\n', '\n', '# unknown=1\n', '#\n']) {
    assert.equal(parse(`${top}# escape=\`\nFROM a\n`).escape, '\\');
  }
  assert.equal(parse('#!/usr/bin/env build\n#   ESCAPE = `  \nFROM a').escape, '`');
});

test('directives: only our own syntax is accepted, and none of them twice or wrong', () => {
  for (const image of [
    'docker/dockerfile',
    'docker.io/docker/dockerfile:1.7-labs',
    'docker/dockerfile:1',
    'docker/dockerfile:experimental',
    `docker/dockerfile:1@sha256:${'0'.repeat(64)}`,
  ]) {
    assert.equal(parse(`# syntax=${image}\nFROM a`).syntax, image);
  }
  const cases: Readonly<Record<string, string>> = {
    '# syntax=evil.example/x:1':
      '1:1: syntax image "evil.example/x:1" is not supported: front ends of others are not run; docker/dockerfile:1 is built in',
    '#syntax=docker/dockerfile:2':
      '1:1: syntax image "docker/dockerfile:2" is not supported: front ends of others are not run; docker/dockerfile:1 is built in',
    '# escape=x': '1:1: escape must be \\ or `, not "x"',
    '# escape=\\\n  # escape=`': '2:3: directive escape is there twice',
    '# check=nonsense=1': '1:1: unknown check option "nonsense=1": it knows skip and error',
  };
  const found = Object.keys(cases).map((text) => [text, failureOf(`${text}\nFROM a`)]);
  assert.deepEqual(Object.fromEntries(found), cases);
});

test('checks: rules can be turned off for the file and for one instruction, or made errors', () => {
  const rules = (text: string) => parse(text).warnings.map(({ rule }) => rule);
  const body = 'FROM a\nMAINTAINER x\nENV A b\n';
  assert.deepEqual(rules(body), ['MaintainerDeprecated', 'LegacyKeyValueFormat']);
  assert.deepEqual(rules(`# check=skip=MaintainerDeprecated,Other\n${body}`), ['LegacyKeyValueFormat']);
  assert.deepEqual(rules(`# check=skip=all\n${body}`), []);
  assert.deepEqual(rules('FROM a\n# check=skip=LegacyKeyValueFormat\nENV A b\nENV C d'), ['LegacyKeyValueFormat']);
  assert.match(failureOf(`# check=error=true\n${body}`), /^3:1: .*MaintainerDeprecated, an error/);
});

test('RUN, CMD and ENTRYPOINT have a shell form and a JSON form', () => {
  assert.deepEqual(only('RUN', 'RUN echo "a  b"').command, { form: 'shell', line: 'echo "a  b"' });
  assert.deepEqual(only('CMD', 'CMD [ "a", "b\\u0041" ]').command, { form: 'exec', args: ['a', 'bA'] });
  assert.deepEqual(only('ENTRYPOINT', 'ENTRYPOINT []').command, { form: 'exec', args: [] });
  assert.deepEqual(only('CMD', 'CMD [ -f x ] && y').command, { form: 'shell', line: '[ -f x ] && y' });
  const broken = parse("FROM a\nCMD ['a', 'b']");
  assert.deepEqual(
    [
      broken.stages[0]?.instructions[0]?.kind === 'CMD' && broken.stages[0].instructions[0].command,
      broken.warnings[0]?.rule,
    ],
    [{ form: 'shell', line: "['a', 'b']" }, 'JSONFormBroken'],
  );
  checkFailures({
    'CMD ["a", 1]': '2:5: the JSON form takes strings only',
    'RUN [["a"]]': '2:5: the JSON form takes strings only',
    'RUN []': '2:1: RUN needs a command',
    'CMD ["a\\u0000"]': '2:5: NUL characters are not allowed',
    'HEALTHCHECK CMD ["\\u0000"]': '2:17: NUL characters are not allowed',
    RUN: '2:1: RUN needs a command',
    'CMD   ': '2:1: CMD needs a command',
    ENTRYPOINT: '2:1: ENTRYPOINT needs a command',
    'CMD --verbose': '2:5: unknown flag --verbose of CMD, which has none',
  });
});

test('ENV and LABEL take pairs with quotes and escapes, and the old form', () => {
  assert.deepEqual(only('ENV', 'ENV A=1 B="x y" C=a\\ b D=\'$E\' F=').pairs, [
    { key: 'A', value: '1' },
    { key: 'B', value: '"x y"' },
    { key: 'C', value: 'a\\ b' },
    { key: 'D', value: "'$E'" },
    { key: 'F', value: '' },
  ]);
  const legacy = only('ENV', 'ENV A  b "c" =d');
  assert.deepEqual([legacy.isLegacy, legacy.pairs], [true, [{ key: 'A', value: 'b "c" =d' }]]);
  assert.deepEqual(only('LABEL', 'LABEL "a.b"="c d" \\\n  e=f').pairs, [
    { key: '"a.b"', value: '"c d"' },
    { key: 'e', value: 'f' },
  ]);
  checkFailures({
    ENV: '2:1: ENV needs KEY=value',
    'ENV A': '2:5: ENV needs a value: ENV A=value',
    'ENV A=1 B': '2:9: "B" is not KEY=value: a value with blanks needs quotes',
    'LABEL =x': '2:7: "=x" has no key before its =',
    'LABEL --x a=b': '2:7: unknown flag --x of LABEL, which has none',
  });
});

test('ARG takes names with and without defaults', () => {
  assert.deepEqual(only('ARG', 'ARG A B=1 C="x y" D=').args, [
    { name: 'A' },
    { name: 'B', value: '1' },
    { name: 'C', value: '"x y"' },
    { name: 'D', value: '' },
  ]);
  checkFailures({
    ARG: '2:1: ARG needs a name: ARG NAME or ARG NAME=default',
    'ARG =1': '2:5: "=1" has no name before its =',
  });
});

test('COPY and ADD take flags, several sources and the JSON form for blanks', () => {
  const copy = only('COPY', 'COPY --from=0 --chown=u:g --chmod=755 --link --parents --exclude=a --exclude=*.b x y /z/');
  assert.deepEqual(
    [copy.from, copy.chown, copy.chmod, copy.link, copy.parents, copy.exclude, copy.sources, copy.destination],
    ['0', 'u:g', '755', true, true, ['a', '*.b'], ['x', 'y'], '/z/'],
  );
  const add = only('ADD', 'ADD --checksum=sha256:a --keep-git-dir=true --unpack=FALSE --link=false ["a b", "c d"]');
  assert.deepEqual(
    [add.checksum, add.keepGitDir, add.unpack, add.link, add.sources, add.destination],
    ['sha256:a', true, false, false, ['a b'], 'c d'],
  );
  assert.deepEqual(only('COPY', 'COPY -- --odd /x').sources, ['--odd']);
  assert.deepEqual(only('COPY', 'COPY "a b" c').sources, ['"a', 'b"']);
  checkFailures({
    COPY: '2:1: COPY needs a source and a destination',
    'COPY a': '2:1: COPY needs a source and a destination',
    'ADD ["a"]': '2:1: ADD needs a source and a destination',
    'COPY --form=x a b': '2:6: unknown flag --form of COPY: did you mean --from?',
    'COPY --zzzzzz a b':
      '2:6: unknown flag --zzzzzz of COPY; it has --chown, --chmod, --link, --exclude, --from, --parents',
    'COPY --link --chown=a  --chown=b x y': '2:24: --chown is there twice',
    'COPY --chown x y': '2:6: --chown needs a value',
    'COPY --link=maybe x y': '2:6: --link takes true or false, not "maybe"',
    'COPY --link= x y': '2:6: --link takes true or false, not ""',
    'COPY --checksum=x a b':
      '2:6: unknown flag --checksum of COPY; it has --chown, --chmod, --link, --exclude, --from, --parents',
    'ADD --from=x a b':
      '2:5: unknown flag --from of ADD; it has --chown, --chmod, --link, --exclude, --checksum, --keep-git-dir, --unpack',
  });
});

test('here-documents: COPY writes files, RUN has them as they are', () => {
  const copy = only('COPY', 'COPY <<a.txt <<"b.txt" <<-c.txt d /x/\nA $V\na.txt\nB $V\n\tb.txt\nb.txt\n\tC\n\tc.txt');
  assert.deepEqual(copy.heredocs, [
    { name: 'a.txt', content: 'A $V\n', expands: true, stripsTabs: false },
    { name: 'b.txt', content: 'B $V\n\tb.txt\n', expands: false, stripsTabs: false },
    { name: 'c.txt', content: '\tC\n', expands: true, stripsTabs: true },
  ]);
  assert.deepEqual([copy.sources, copy.endLine], [['d'], 9]);
  const [run, next] = instructions(
    'RUN --network=none python3 <<EOF > /x && \\\n  y\n# no comment\n\nEOF \nEOF\nUSER u',
  );
  assert.deepEqual(
    [run?.kind === 'RUN' && run.command, run?.heredocs[0]?.content, run?.endLine, next?.kind],
    [{ form: 'shell', line: 'python3 <<EOF > /x &&   y' }, '# no comment\n\nEOF \n', 7, 'USER'],
  );
  assert.equal(only('RUN', "RUN x 3<<'E O'\nz\nE O").heredocs[0]?.name, 'E O');
});

test('here-documents: quoted, in the JSON form and with three angles there are none', () => {
  const texts = [
    'RUN echo "<<EOF"',
    "RUN echo '<<EOF'",
    'RUN ["cat", "<<EOF"]',
    'RUN cat <<<x',
    "RUN it's <<EOF",
    'CMD cat <<EOF',
    'RUN echo \\<<EOF',
  ];
  assert.deepEqual(
    texts.map((text) => instructions(text).map(({ heredocs }) => heredocs.length)),
    texts.map(() => [0]),
  );
  checkFailures({
    'RUN cat <<EOF\nx\n EOF\n': '2:9: here-document "EOF" has no end: no line after it is EOF alone',
    'COPY x <<EOF\nEOF': '2:8: a here-document cannot be the destination of COPY',
    "ADD <<'E O' /x\nE O": '2:1: the name of a here-document must follow its << without a blank and without one in it',
    'COPY << EOF /x\nEOF': '2:1: the name of a here-document must follow its << without a blank and without one in it',
  });
});

test('HEALTHCHECK takes a command with times, or NONE', () => {
  const { check } = only(
    'HEALTHCHECK',
    'HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0 --start-interval=1.5s --retries=3 CMD curl -f x',
  );
  assert.deepEqual(check, {
    command: { form: 'shell', line: 'curl -f x' },
    interval: 90e9,
    timeout: 500e6,
    startPeriod: 0,
    startInterval: 1.5e9,
    retries: 3,
  });
  assert.deepEqual(only('HEALTHCHECK', 'HEALTHCHECK cmd ["a", "b"]').check?.command, {
    form: 'exec',
    args: ['a', 'b'],
  });
  assert.equal(only('HEALTHCHECK', 'HEALTHCHECK none').check, undefined);
  checkFailures({
    HEALTHCHECK: '2:1: HEALTHCHECK needs CMD and a command, or NONE',
    'HEALTHCHECK CMD': '2:1: HEALTHCHECK CMD needs a command',
    'HEALTHCHECK CMD []': '2:1: HEALTHCHECK CMD needs a command',
    'HEALTHCHECK curl x': '2:13: HEALTHCHECK takes CMD or NONE, not "curl"',
    'HEALTHCHECK NONE x': '2:18: HEALTHCHECK NONE takes no arguments',
    'HEALTHCHECK --retries=1 NONE': '2:13: HEALTHCHECK NONE takes no flags',
    'HEALTHCHECK --interval=5 CMD x':
      '2:1: --interval must be 0 or a duration from 1ms on, such as 30s or 1m30s, not "5"',
    'HEALTHCHECK --timeout=1us CMD x':
      '2:1: --timeout must be 0 or a duration from 1ms on, such as 30s or 1m30s, not "1us"',
    'HEALTHCHECK --timeout=-1s CMD x':
      '2:1: --timeout must be 0 or a duration from 1ms on, such as 30s or 1m30s, not "-1s"',
    'HEALTHCHECK --retries=-1 CMD x': '2:1: --retries must be a number from 0 on, not "-1"',
    'HEALTHCHECK --retires=1 CMD x': '2:13: unknown flag --retires of HEALTHCHECK: did you mean --retries?',
  });
});

test('ONBUILD holds one instruction, with its here-documents', () => {
  const plain = only('ONBUILD', 'ONBUILD   COPY --link a /b');
  assert.deepEqual(
    [plain.source, plain.trigger.kind, plain.trigger.position],
    ['COPY --link a /b', 'COPY', { line: 2, column: 11 }],
  );
  const document = only('ONBUILD', 'ONBUILD RUN <<EOF\necho\nEOF');
  assert.deepEqual([document.source, document.trigger.heredocs[0]?.content], ['RUN <<EOF\necho\nEOF', 'echo\n']);
  checkFailures({
    ONBUILD: '2:1: ONBUILD needs an instruction',
    'ONBUILD ONBUILD RUN x': '2:9: ONBUILD cannot be the trigger of an ONBUILD',
    'ONBUILD FROM x': '2:9: FROM cannot be the trigger of an ONBUILD',
    'ONBUILD maintainer x': '2:9: MAINTAINER cannot be the trigger of an ONBUILD',
    'ONBUILD RUNN x': '2:9: unknown instruction "RUNN": did you mean RUN?',
    'ONBUILD COPY --form=a b c': '2:14: unknown flag --form of COPY: did you mean --from?',
    'ONBUILD --x RUN y': '2:9: unknown flag --x of ONBUILD, which has none',
  });
});

test('build: front-end rights, mount tricks: RUN refuses what no build is granted, and mounts that cannot be read', () => {
  const run = only('RUN', 'RUN --mount=type=cache,target=/c --mount=target=. --network=NONE --security=sandbox x');
  assert.deepEqual([run.mounts, run.network], [['type=cache,target=/c', 'target=.'], 'none']);
  checkFailures({
    'RUN --network=host x': "2:5: --network=host is refused: no build is granted the node's own network",
    'RUN --network=bridge x': '2:5: --network takes default or none, not "bridge"',
    'RUN --security=insecure x': '2:5: --security=insecure is refused: no build is granted that',
    'RUN --security=x y': '2:5: --security takes sandbox, not "x"',
    'RUN --device=nvidia.com/gpu x': '2:5: --device is refused: builds have no devices of the node',
    'RUN --mount=type=bind,bind-propagation=rshared,target=/x y':
      '2:5: --mount=type=bind,bind-propagation=rshared,target=/x: unknown option "bind-propagation"',
    'RUN --mount=type=bind,tagret=/x y':
      '2:5: --mount=type=bind,tagret=/x: unknown option "tagret": did you mean target?',
    'RUN --network=none \\\n  --mount=target=/a,dst=/b y':
      '3:3: --mount=target=/a,dst=/b: option target is there twice',
    'RUN --mount=target y': '2:5: --mount=target: option target needs a value',
    'RUN --mount=\\"a y': '2:5: --mount="a: a quote is not closed',
  });
});

test('the other instructions take one argument each, or a list', () => {
  assert.deepEqual(only('EXPOSE', 'EXPOSE 80 443/tcp\t53/udp').ports, ['80', '443/tcp', '53/udp']);
  assert.deepEqual(only('VOLUME', 'VOLUME /a /b').paths, ['/a', '/b']);
  assert.deepEqual(only('VOLUME', 'VOLUME ["/a b"]').paths, ['/a b']);
  assert.deepEqual(only('SHELL', 'SHELL ["/bin/bash", "-c"]').shell, ['/bin/bash', '-c']);
  assert.equal(only('WORKDIR', 'WORKDIR  /a b ').path, '/a b');
  assert.equal(only('USER', 'USER u:g').user, 'u:g');
  assert.equal(only('STOPSIGNAL', 'STOPSIGNAL SIGINT').signal, 'SIGINT');
  assert.equal(only('MAINTAINER', 'MAINTAINER A B <a@b>').name, 'A B <a@b>');
  checkFailures({
    EXPOSE: '2:1: EXPOSE needs a port',
    VOLUME: '2:1: VOLUME needs a path',
    'VOLUME []': '2:1: VOLUME needs a path',
    'VOLUME ["/a", " "]': '2:8: a path of VOLUME must not be empty',
    SHELL: '2:1: SHELL takes the JSON form only: SHELL ["/bin/bash", "-c"]',
    'SHELL []': '2:1: SHELL takes the JSON form only: SHELL ["/bin/bash", "-c"]',
    'SHELL /bin/bash -c': '2:1: SHELL takes the JSON form only: SHELL ["/bin/bash", "-c"]',
    WORKDIR: '2:1: WORKDIR needs a path',
    USER: '2:1: USER needs a user',
    STOPSIGNAL: '2:1: STOPSIGNAL needs a signal',
    MAINTAINER: '2:1: MAINTAINER needs a name',
    'STOPSIGNAL --x y': '2:12: unknown flag --x of STOPSIGNAL, which has none',
  });
});

test('FROM refuses what it cannot be', () => {
  checkFailures({
    FROM: '2:1: FROM needs an image, a stage or scratch',
    'FROM a b': '2:8: expected AS after "a", not "b"',
    'FROM a AS': '2:8: AS needs a name',
    'FROM a AS b c': '2:13: nothing may follow the name, but there is "c"',
    'FROM a AS 1b': '2:11: stage name "1b" must begin with a letter, and have letters, digits, "-", "_" and "." only',
    'FROM a AS b\nFROM a AS B': '3:1: stage name b is taken by the stage in line 2',
    'FROM --plattform=x a': '2:6: unknown flag --plattform of FROM: did you mean --platform?',
  });
  const rules = parse('from a AS Build\nFROM b as context\n').warnings.map(({ rule }) => rule);
  assert.deepEqual(rules, [
    'StageNameCasing',
    'FromAsCasing',
    'ReservedStageName',
    'FromAsCasing',
    'ConsistentInstructionCasing',
  ]);
});

test('files: what is no Dockerfile is refused with its place', () => {
  const cases: [string | Buffer, string][] = [
    ['', '1:1: the file has no instruction'],
    ['\n\n# nothing\n', '3:1: the file has no instruction'],
    ['ARG A\n', '1:1: the file has no FROM'],
    ['RUN x\nFROM a', '1:1: RUN before the first FROM: only ARG may stand there'],
    ['FORM a', '1:1: unknown instruction "FORM": did you mean FROM?'],
    ['{"a": 1}', '1:1: unknown instruction "{\\"a\\":"'],
    ['FROM a\nRUN x \\\n', '2:7: the line goes on after its "\\\\", but the file ends here'],
    ['FROM a\nRUN x \\\n# comment\n\n', '2:7: the line goes on after its "\\\\", but the file ends here'],
    ['FROM a\nRUN \0x', '2:5: NUL characters are not allowed'],
    [Buffer.from([0x46, 0x52, 0x4f, 0x4d, 0x20, 0x61, 0x0a, 0xc3, 0xbc, 0xff, 0x0a]), '2:2: the file is not UTF-8'],
    [Buffer.from([0xff, 0xfe, 0x46, 0x00]), '1:1: the file is not UTF-8'],
    [Buffer.from([0x46, 0xe2, 0x82]), '1:2: the file is not UTF-8'],
    [`FROM a\nRUN ${'x'.repeat(1024 * 1024)}\n`, '2:65536: the line has 1048580 bytes, the limit is 65535'],
    [`FROM a\nRUN ${'ü'.repeat(40_000)}\n`, '2:65536: the line has 80004 bytes, the limit is 65535'],
    [Buffer.alloc(16 * 1024 * 1024 + 1, 0x0a), '1:1: the file has 16777217 bytes, the limit is 16777216'],
  ];
  for (const [source, message] of cases) assert.equal(failureOf(source), message);
  assert.equal(failureOf(`FROM a\nRUN ${'x'.repeat(65_531)}\n`), '');
});

test('errors carry the instruction as written, shortened', () => {
  const error = (text: string) => {
    try {
      return parse(text);
    } catch (caught) {
      return (caught as WindlassError).details['instruction'];
    }
  };
  assert.equal(error('FROM a\n  copy \\\n  x\n'), 'copy   x');
  assert.equal((error(`FROM a\nENV ${'x'.repeat(5000)}`) as string).length, 1027);
});
