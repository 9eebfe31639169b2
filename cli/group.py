"""A command of several verbs."""

from __future__ import annotations

from collections.abc import Mapping

import click


class Group(click.Group):
    """A group that says what may have been meant by a verb that it does not have."""

    #: Other spelling of a verb -> the verb.
    aliases: Mapping[str, str] = {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with a suggestion where there is no such verb."""
        name, verbs = args[0], self.list_commands(ctx)
        if not name.startswith("-") and name not in verbs and name not in self.aliases:
            from clwm_data.suggestions import suggestion  # the package takes time to import

            hint = suggestion(
                name, [*verbs, *self.aliases], f"`{ctx.command_path} --help` lists the commands"
            )
            ctx.fail(f"no command is called {name!r}: {hint}")
        return super().resolve_command(ctx, args)
