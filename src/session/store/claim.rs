//! How a session that was opened without a credential comes to belong to somebody.

use std::sync::Arc;

use super::{Refused, SessionStore};
use crate::auth::Principal;
use crate::session::activity::Millis;
use crate::session::statistics::LookupFailure;
use crate::session::{Owner, Session};

impl SessionStore {
    /// Has a session belong to this principal, which is in it. The first one that comes with a
    /// credential wins, and for all others the session is not there any more.
    ///
    /// # Errors
    ///
    /// [`Refused::NotFound`] if another principal was first or the session has ended meanwhile, [`Refused::PrincipalFull`] if this one
    /// has as many sessions as it may.
    pub(in crate::session) fn claim(
        &self,
        session: &Arc<Session>,
        principal: &Principal,
        now: Millis,
    ) -> Result<(), Refused> {
        if session.owner().principal == *principal {
            return Ok(());
        }
        let owner = self.counted(Owner::new(principal.clone(), None));
        let mut registry = self.registry.lock();
        if !registry.has(session) {
            drop(registry);
            return Err(self.just_ended(session.id, now));
        }
        let evicted = match &session.owner().principal {
            Principal::Anonymous => self.make_room_in_bucket(&mut registry, &owner, now),
            claimant if claimant == principal => return Ok(()),
            Principal::User(_) => {
                drop(registry);
                return Err(self.not_found(LookupFailure::PrincipalMismatch));
            }
        };
        let evicted = match evicted {
            Ok(evicted) => evicted,
            Err((_, rejection)) => {
                drop(registry);
                self.note_rejected(rejection);
                return Err(Refused::PrincipalFull);
            }
        };
        registry.hand_over(session, owner);
        drop(registry);
        if let Some(evicted) = evicted {
            self.make_known(&evicted, now);
        }
        self.counters.claimed();
        tracing::info!(session = %session.id, %principal, "session claimed");
        Ok(())
    }
}
