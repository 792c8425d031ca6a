// Bad input that aims at rights once more, with runc where `auto` would have taken crun.
process.env['WINDLASS_OCI_RUNTIME'] = 'runc';
await import('./security.test.ts');
