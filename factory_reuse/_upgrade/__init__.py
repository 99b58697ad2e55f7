"""Behind ``factory-reuse upgrade``: rewrite the usual get-or-create code to ``@reuse_existing``.

Downwards, each module importing only those below it:

- ``files``: files and directories in, a ``FileUpgrade`` for each out.
- ``edit``, ``imports``: apply to a file what was recognised. Only these need libcst.
- ``recognise``: what a factory class does, as a ``Lookup`` or a ``NotUnderstood``.
- ``consequences``, ``cautions``: what that means for the options, and for tests.
- ``sessions``, ``checks``: what else has to be so for a lookup to be replaced.
- ``forms``: whether a ``_create`` looks up, passes on, or does something else.
- ``paths``: what all ways through a ``_create`` come to, taken together.
- ``interpret``, ``expressions``, ``calls``, ``queries``: follow one way through it, symbolically.
- ``machine``, ``values``: what that way remembers, and what its expressions stand for.
- ``models``: what a model's class says to be unique.
- ``classes``: bases, ``class Meta`` and declarations of a factory.
- ``project``: the files of a project, and where a name is defined in them.
- ``sources``, ``settings``: parsed files and what their names are bound to; pytest's settings.

Nothing of the project that is upgraded is imported or run.
"""
