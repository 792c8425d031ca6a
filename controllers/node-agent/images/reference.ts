// Image references in full: what Docker implies is written out, so that two spellings of one image compare equal.

/** `busybox` -> `docker.io/library/busybox:latest`; a reference with a digest keeps it and loses its tag. */
export function normaliseReference(text: string): string {
  const at = text.indexOf('@');
  const digest = at < 0 ? '' : text.slice(at);
  const name = at < 0 ? text : text.slice(0, at);
  const lastSlash = name.lastIndexOf('/');
  const colon = name.indexOf(':', lastSlash + 1);
  const tag = colon < 0 ? '' : name.slice(colon);
  const repository = withRegistry(colon < 0 ? name : name.slice(0, colon));
  return digest === '' ? `${repository}${tag === '' ? ':latest' : tag}` : `${repository}${digest}`;
}

/** Host (and port) of the registry that a reference is pulled from. */
export function registryOf(reference: string): string {
  const full = normaliseReference(reference);
  return full.slice(0, full.indexOf('/'));
}

function withRegistry(repository: string): string {
  const slash = repository.indexOf('/');
  const first = slash < 0 ? '' : repository.slice(0, slash);
  const isHost = first === 'localhost' || /[.:]/.test(first);
  if (isHost) return first === 'index.docker.io' ? `docker.io${repository.slice(slash)}` : repository;
  return slash < 0 ? `docker.io/library/${repository}` : `docker.io/${repository}`;
}
